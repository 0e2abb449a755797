"""Text as rows of word pieces: tokenised once into a memory-mapped Arrow file, mixed by weight, masked by row."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerFast

UNSCORED = -100
CHUNK = 1024  # rows of a record batch

# Pages of the file that were read count as this process's memory until the map is dropped.
READS_A_MAP = 65536


class Rows:
    """The packed rows of a text, read from a memory-mapped Arrow file (also `datasets.Dataset.from_file`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map()
        self.length = self._chunks[0].shape[1]

    def _map(self) -> None:
        with pa.memory_map(os.fspath(self.path)) as source:
            column = pa.ipc.open_stream(source).read_all().column("input_ids")
        self._chunks = [chunk.flatten().to_numpy().reshape(len(chunk), -1) for chunk in column.chunks]
        self._reads = 0

    def __len__(self) -> int:
        return sum(map(len, self._chunks))

    def __getitem__(self, row: int) -> np.ndarray:
        """Pieces of one row, (length,), a copy."""
        self._reads += 1
        if self._reads > READS_A_MAP:
            self._map()
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
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        schema = pa.schema([("input_ids", pa.list_(pa.uint32(), length))])
        with pa.OSFile(os.fspath(beside), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
            for some in _cut(_pieces(texts, tokenizer), length, rows):
                column = pa.FixedSizeListArray.from_arrays(pa.array(some.ravel()), length)
                writer.write_batch(pa.record_batch([column], schema=schema))
        os.replace(beside, path)
    packed = Rows(path)
    return packed


def _pieces(texts: Iterable[str], tokenizer: PreTrainedTokenizerFast) -> Iterator[np.ndarray]:
    """Word pieces of texts one after the other, some texts at a time on all processors, as a stream."""
    texts, backend = iter(texts), tokenizer.backend_tokenizer
    while some := list(islice(texts, 512)):
        yield np.concatenate([np.array(e.ids, np.uint32) for e in backend.encode_batch_fast(some)])


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


def mixture(sizes: list[int], weights: list[float], rows: int, seed: int) -> np.ndarray:
    """Which row of which store to read, in training order: (rows, 2) of store and row.

    Each store gives its weight's share of the rows; a store that is too small is read again in another order.
    """
    shares = np.array(weights) / sum(weights)
    counts = np.diff(np.round(np.cumsum([0, *shares]) * rows).astype(int))
    generator = np.random.default_rng(seed)
    picked = []
    for store, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        passes = [generator.permutation(size) for _ in range(-(-count // size))]
        chosen = np.concatenate([*passes, np.empty(0, int)])[:count].astype(int)
        picked.append(np.stack([np.full(count, store), chosen], axis=1))
    return generator.permutation(np.concatenate(picked))


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

        The pieces of a word share one draw, so the word that does not fit whole is left out.
        """
        if len(self.inner):
            draw = np.take_along_axis(draw, np.maximum(np.cumsum(~self.inner[ids], axis=1) - 1, 0), axis=1)
        draw = np.where(self.special[ids], 2.0, draw)
        wanted = round(self.rate * ids.shape[1])
        return (draw < np.partition(draw, wanted, axis=1)[:, [wanted]]) & (draw < 2)
