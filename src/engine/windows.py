"""Texts as overlapping windows of word pieces, in which every word is scored exactly once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")


@dataclass(frozen=True, slots=True)
class Window:
    """Pieces of one text with [CLS] and [SEP], and the words that are scored here rather than in a neighbour.

    `words` are their numbers in the text, `pieces` the position of each word's first piece in `ids`.
    """

    text: int
    ids: tuple[int, ...]
    words: tuple[int, ...]
    pieces: tuple[int, ...]


def words(text: str) -> list[tuple[int, int]]:
    """Character spans of the words of a text: runs of letters, runs of digits, single other characters."""
    return [match.span() for match in WORD.finditer(text)]


def split(count: int, length: int, overlap: int) -> list[tuple[int, int]]:
    """Begin and end of windows over `count` pieces: `length` long, `overlap` shared, the last one flush with the end.

    Raises ValueError unless 0 <= overlap < length.
    """
    if not 0 <= overlap < length:
        raise ValueError(f"overlap {overlap} is not below the window's length {length}")
    if count <= length:
        return [(0, count)]
    begins = [*range(0, count - length, length - overlap), count - length]
    return [(begin, begin + length) for begin in begins]


def owners(firsts: np.ndarray, windows: Sequence[tuple[int, int]]) -> np.ndarray:
    """Number of the window in which each word is scored: where its first piece stands farthest from an edge."""
    begins, ends = np.array(windows).T
    first, last = np.searchsorted(ends, firsts, "right"), np.searchsorted(begins, firsts, "right") - 1
    which = np.minimum(first[:, None] + np.arange((last - first).max() + 1), last[:, None])  # those that hold it
    room = np.minimum(firsts[:, None] - begins[which], ends[which] - 1 - firsts[:, None])
    return which[np.arange(len(which)), room.argmax(axis=1)]


def cut(texts: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerFast, length: int, overlap: int) -> list[Window]:
    """Windows of at most `length` pieces, [CLS] and [SEP] included, over texts given as words.

    A word that the tokenizer does not know at all counts as one unknown piece: no word is lost.
    """
    made = []
    for number, text in enumerate(texts):
        pieces, of = _pieces(text, tokenizer)
        firsts = np.unique(of, return_index=True)[1]
        spans = split(len(pieces), length - 2, overlap)
        owner = owners(firsts, spans) if len(firsts) else np.empty(0, int)
        for window, (begin, end) in enumerate(spans):
            mine = np.flatnonzero(owner == window)
            ids = (tokenizer.cls_token_id, *pieces[begin:end].tolist(), tokenizer.sep_token_id)
            made.append(Window(number, ids, tuple(mine.tolist()), tuple((firsts[mine] - begin + 1).tolist())))
    scored = sum(len(window.words) for window in made)
    if scored != sum(map(len, texts)):
        raise AssertionError(f"{scored} words are scored of {sum(map(len, texts))}")
    return made


def _pieces(text: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of a text given as words, and the number of the word that each belongs to."""
    if not text:
        return np.empty(0, int), np.empty(0, int)
    encoded = tokenizer(list(text), is_split_into_words=True, add_special_tokens=False, verbose=False)
    pieces, of = np.array(encoded["input_ids"], int), np.array(encoded.word_ids(), int)
    lost = np.setdiff1d(np.arange(len(text)), of)
    pieces, of = np.append(pieces, np.full(len(lost), tokenizer.unk_token_id)), np.append(of, lost)
    order = np.argsort(of, kind="stable")
    return pieces[order], of[order]


def pad(windows: Sequence[Window], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask (windows, longest) of windows of different lengths."""
    longest = max(len(window.ids) for window in windows)
    ids = np.full((len(windows), longest), padding, dtype=np.int64)
    for row, window in zip(ids, windows, strict=True):
        row[: len(window.ids)] = window.ids
    attention = np.arange(longest) < np.array([[len(window.ids)] for window in windows])
    return torch.from_numpy(ids), torch.from_numpy(attention)


def batches(lengths: Sequence[int], size: int, seed: list[int]) -> list[np.ndarray]:
    """Indices of one epoch's batches: shuffled, then grouped by length within pools of 32 batches, batches shuffled."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(lengths))
    made = []
    for begin in range(0, len(order), size * 32):
        pool = order[begin : begin + size * 32]
        pool = pool[np.argsort(np.array(lengths)[pool], kind="stable")]
        made += [pool[at : at + size] for at in range(0, len(pool), size)]
    return [made[i] for i in generator.permutation(len(made))]
