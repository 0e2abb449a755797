"""Text as rows of word pieces: tokenised once into a memory-mapped Arrow file, mixed by weight, masked by row."""

import mmap
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import PreTrainedTokenizerFast

UNSCORED = -100
CHUNK = 1024  # rows of a record batch
WORDS = re.compile(r"[^ \n.,;:()]+|[.,;:()]")
WORDS_HELD = 2**19  # whose pieces are remembered, about 100 MB
READS_KEPT, BATCHES_KEPT = 2048, 128  # pages that were read count as this process's memory until they are given back


class Rows:
    """The packed rows of a text, read from a memory-mapped Arrow file (also `datasets.Dataset.from_file`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self._file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._chunks, self._reads = list[np.ndarray](), 0
        for batch in pa.ipc.open_stream(pa.py_buffer(self._file)):
            self._chunks.append(batch.column(0).flatten().to_numpy().reshape(len(batch), -1))
            if len(self._chunks) % BATCHES_KEPT == 0:
                self._file.madvise(mmap.MADV_DONTNEED)
        self.length = self._chunks[0].shape[1]

    def __reduce__(self) -> tuple:
        return Rows, (self.path,)

    def __len__(self) -> int:
        return sum(map(len, self._chunks))

    def __getitem__(self, row: int) -> np.ndarray:
        """Pieces of one row, (length,), a copy."""
        self._reads += 1
        if self._reads % READS_KEPT == 0:
            self._file.madvise(mmap.MADV_DONTNEED)
        return self._chunks[row // CHUNK][row % CHUNK].copy()

    def head(self, rows: int) -> np.ndarray:
        """The first rows, (rows, length)."""
        return np.stack([self[row] for row in range(min(rows, len(self)))])


def pack(texts: Iterable[str], tokenizer: PreTrainedTokenizerFast, length: int, rows: int, path: Path) -> Rows:
    """Write at most `rows` rows of `length` word pieces to `path`, unless it is there, and open it.

    Every text becomes [CLS] text [SEP]; texts follow one another and are cut where a row ends, so no piece is padding
    and only the last, unfinished row is left out. `segments` tells the texts of a row apart again. The file's name
    should hold a digest of text and tokenizer: it is taken for what it is called. ValueError when no row is filled.
    """
    with suppress(OSError, ValueError, IndexError):  # not there yet, or damaged
        return Rows(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    schema = pa.schema([("input_ids", pa.list_(pa.uint32(), length))])
    with pa.OSFile(os.fspath(beside), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for some in _cut(_pieces(texts, tokenizer), length, rows):
            column = pa.FixedSizeListArray.from_arrays(pa.array(some.ravel()), length)
            writer.write_batch(pa.record_batch([column], schema=schema))
    os.replace(beside, path)
    return Rows(path)


def _pieces(texts: Iterable[str], tokenizer: PreTrainedTokenizerFast) -> Iterator[np.ndarray]:
    """Word pieces of texts one after the other, as a stream.

    BERT's tokenizers join nothing across blanks, line ends and punctuation: what stands between is cut once, and kept.
    """
    backend, texts, known = literal(tokenizer), iter(texts), dict[str, bytes]()
    added = any(len(WORDS.findall(token)) > 1 for token in tokenizer.get_added_vocab())
    whole = added or not isinstance(backend.pre_tokenizer, BertPreTokenizer)
    first, last = (np.uint32(piece).tobytes() for piece in backend.encode("").ids)
    while some := list(islice(texts, 512)):
        words = [[text] if whole else WORDS.findall(text) for text in some]
        known = {} if whole or len(known) > WORDS_HELD else known
        new = list(set().union(*words) - known.keys())
        cut = (np.array(one.ids, np.uint32) for one in backend.encode_batch_fast(new, add_special_tokens=False))
        known |= zip(new, map(np.ndarray.tobytes, cut), strict=True)
        joined = (first + b"".join(map(known.__getitem__, text)) + last for text in words)
        yield np.frombuffer(b"".join(joined), np.uint32)


def literal(tokenizer: PreTrainedTokenizerFast) -> Tokenizer:
    """A tokenizer to which "[MASK]" in a text is a word in brackets, as de-identified notes have them."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.encode_special_tokens = True
    return backend


def _cut(pieces: Iterable[np.ndarray], length: int, rows: int) -> Iterator[np.ndarray]:
    """Record batches (at most `CHUNK`, length) of a stream of pieces, `rows` in all; the rest of a row is left out."""
    held: list[np.ndarray] = []
    count, size, done = 0, CHUNK * length, 0
    for some in pieces:
        held.append(some)
        count += len(some)
        while count >= min(size, (rows - done) * length) > 0:
            whole = np.concatenate(held)
            take = min(CHUNK, rows - done)
            yield whole[: take * length].reshape(take, length)
            held, count, done = [whole[take * length :]], len(whole) - take * length, done + take
        if done == rows:
            return
    whole = np.concatenate([*held, np.empty(0, np.uint32)])
    if left := len(whole) // length:
        yield whole[: left * length].reshape(left, length)
    elif not done:
        raise ValueError(f"the text fills no row of {length} word pieces")


class Order:
    """Which row of which store to read at every place of a training, worked out when asked and never held.

    Each store gives its weight's share of the rows; one that is too small is read again.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], rows: int, seed: int) -> None:
        self.sizes, self.rows, self.seed = np.array(sizes, int), rows, seed
        self.ends = np.round(np.cumsum(weights) / sum(weights) * rows).astype(int)

    def __len__(self) -> int:
        return self.rows

    def counts(self) -> np.ndarray:
        """Rows that each store gives, (stores,)."""
        return np.diff(self.ends, prepend=0)

    def __getitem__(self, places: Sequence[int]) -> np.ndarray:
        """Store and row of some places, (places, 2)."""
        slots = shuffled(np.asarray(places), self.rows, [self.seed])
        stores = np.searchsorted(self.ends, slots, side="right")
        read, rows = np.divmod(slots - (self.ends - self.counts())[stores], self.sizes[stores])
        for store, again in {*zip(stores.tolist(), read.tolist(), strict=True)}:
            mine = (stores == store) & (read == again)
            rows[mine] = shuffled(rows[mine], int(self.sizes[store]), [self.seed, store, again])
        return np.stack([stores, rows], axis=1)


def shuffled(places: np.ndarray, size: int, key: Sequence[int]) -> np.ndarray:
    """Where a random order of 0 .. size - 1 puts `places`; the order follows from `key` and is not held anywhere.

    Four rounds of a Feistel network over the next power of four, walked until inside (Black and Rogaway 2002).
    """
    half = np.uint64(max(1, -(-(size - 1).bit_length() // 2)))
    mask = (np.uint64(1) << half) - np.uint64(1)
    keys = np.random.default_rng(key).integers(0, 2**64, 4, dtype=np.uint64)
    value = places.astype(np.uint64)
    outside = np.ones(len(value), bool)
    while outside.any():
        left, right = value[outside] >> half, value[outside] & mask
        for one in keys:
            left, right = right, left ^ (_scattered(right + one) & mask)
        value[outside] = left << half | right
        outside = value >= size
    return value.astype(np.int64)


def _scattered(value: np.ndarray) -> np.ndarray:
    """The mixing step of SplitMix64 (Steele et al. 2014)."""
    value = (value ^ value >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ value >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return value ^ value >> np.uint64(31)


def segments(ids: np.ndarray, cls: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of the text (rows, length) and position within it (rows, length), both from 0 in every row."""
    starts = ids == cls
    text = np.cumsum(starts, axis=1)
    column = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    first = np.maximum.accumulate(np.where(starts, column, 0), axis=1)
    return text - text[:, :1], column - first


class Masking:
    """Which pieces of a row are to be predicted, and what stands in their place (Devlin et al. 2019).

    A share `rate` of every row's pieces, the same number in each, special ones never: 80 % of them become [MASK], 10 %
    a random piece that is not special, 10 % stay. With `whole_words` only whole words are chosen, as many as fit. A
    row's masks follow from its key alone, whatever the batch or process it is in.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, rate: float, whole_words: bool = False) -> None:
        self.rate, self.mask_id = rate, tokenizer.mask_token_id
        self.special = np.zeros(len(tokenizer), bool)
        self.special[tokenizer.all_special_ids] = True
        self.ordinary = np.flatnonzero(~self.special)
        names = tokenizer.convert_ids_to_tokens(range(len(tokenizer))) if whole_words else []
        self.inner = np.array([name.startswith("##") for name in names], bool)

    def __call__(self, ids: np.ndarray, keys: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels (rows, length) of rows (rows, length) with their keys; other labels are `UNSCORED`."""
        draws = np.stack([np.random.default_rng(key).random((3, ids.shape[1])) for key in keys], axis=1)
        chosen = self._chosen(ids, draws[0])
        random = self.ordinary[(draws[2] * len(self.ordinary)).astype(int)]
        replaced = np.select([draws[1] < 0.8, draws[1] < 0.9], [self.mask_id, random], ids)
        return np.where(chosen, replaced, ids), np.where(chosen, ids, UNSCORED)

    def _chosen(self, ids: np.ndarray, draw: np.ndarray) -> np.ndarray:
        """Whether each piece is to be predicted: its draw is below that of its row's rank `rate`.

        The pieces of a word share one draw, so the word that does not fit whole is left out, but for the first.
        """
        if len(self.inner):
            # The end of a word that began in the row before has -1, the last draw, which then no word has.
            draw = np.take_along_axis(draw, np.cumsum(~self.inner[ids], axis=1) - 1, axis=1)
        draw = np.where(self.special[ids], 2.0, draw)
        wanted = round(self.rate * ids.shape[1])
        last = np.maximum(np.partition(draw, wanted, axis=1)[:, [wanted]], np.nextafter(draw.min(1, keepdims=True), 3))
        return (draw < last) & (draw < 2)
