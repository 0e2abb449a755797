"""Text as rows of word pieces: packed once into a memory-mapped file, mixed by weight, masked by step."""

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerFast

UNSCORED = -100


def pack(texts: Iterable[str], tokenizer: PreTrainedTokenizerFast, length: int, rows: int, path: Path) -> np.memmap:
    """Write at most `rows` rows of `length` word pieces to `path`; return them memory-mapped, (rows, length) uint32.

    Every text becomes [CLS] text [SEP]; texts follow one another and are cut where a row ends, so no piece is padding
    and only the last, unfinished row is left out. `segments` tells the texts of a row apart again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    left = rows * length
    with beside.open("wb") as file:
        texts = iter(texts)
        while left and (some := list(islice(texts, 256))):
            ids = [piece for row in tokenizer(some, verbose=False)["input_ids"] for piece in row][:left]
            np.asarray(ids, dtype=np.uint32).tofile(file)
            left -= len(ids)
    os.replace(beside, path)
    whole = path.stat().st_size // 4 // length
    if not whole:
        raise ValueError(f"{path.name}: the text fills no row of {length} word pieces")
    return np.memmap(path, dtype=np.uint32, mode="r", shape=(whole, length))


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


def mask(
    ids: np.ndarray, special: np.ndarray, mask_id: int, vocabulary: int, rate: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels (rows, length) of masked-language modelling (Devlin et al. 2019).

    Of the pieces that are not `special` (ids), a share `rate` is to be predicted: 80 % of those become `mask_id`,
    10 % a random piece that is not special, 10 % stay; all other labels are `UNSCORED`.
    """
    chosen = (generator.random(ids.shape) < rate) & ~np.isin(ids, special)
    labels = np.where(chosen, ids, UNSCORED).astype(np.int64)
    fate = generator.random(ids.shape)
    ordinary = np.setdiff1d(np.arange(vocabulary), special)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    random = chosen & (fate >= 0.8) & (fate < 0.9)
    inputs[random] = generator.choice(ordinary, size=int(random.sum()))
    return inputs.astype(np.int64), labels
