"""Repeats: which of some documents a text repeats, exactly or by its runs of words, looked up in an index.

What repeats what is defined in `texts.gate`.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from texts.cleaning import normalise
from texts.documents import Document
from texts.gate import RUN, SHARE, SHORT, WORD

PERMUTATIONS = 64  # of MinHash, which estimates how alike two texts of a corpus are
MOST_ALIKE = 0.96  # Jaccard similarity: of so many permutations an index tells nothing more alike


@lru_cache(maxsize=2**18)
def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def hashes(text: str) -> tuple[int, np.ndarray]:
    """64 bits of a text without case and spaces, and of each of its words without case."""
    folded = text.casefold()
    return _hash.__wrapped__("".join(folded.split())), np.fromiter(map(_hash, WORD.findall(folded)), np.uint64)


def runs(words: np.ndarray, shortest: int = SHORT) -> np.ndarray:
    """64 bits of each different run of words, sorted; none for a text shorter than `shortest`."""
    if len(words) < shortest:
        return np.empty(0, np.uint64)
    length = min(RUN, len(words))
    hashed = np.zeros(len(words) - length + 1, np.uint64)
    for i in range(length):
        hashed = hashed * np.uint64(0x9E3779B97F4A7C15) + words[i : i + len(hashed)]
    return np.unique(hashed ^ (hashed >> np.uint64(29)))


class Repeats:
    """Finds the one of some documents that a text repeats."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.ids: list[str] = []
        self.patients: set[str] = set()
        self.exact: dict[int, str] = {}
        found = [np.empty(0, np.uint64)]
        for document in documents:
            key, words = hashes(normalise(document.text, document.language))
            self.ids.append(document.id)
            self.patients |= {document.patient} - {""}
            self.exact.setdefault(key, document.id)
            found.append(runs(words))
        self.sizes = np.array([max(len(some), 1) for some in found[1:]])
        owners = np.repeat(np.arange(len(self.ids)), [len(some) for some in found[1:]])
        every = np.concatenate(found)
        order = np.argsort(every, kind="stable")
        self.runs, self.owners = every[order], owners[order]

    def find(self, key: int, words: np.ndarray) -> tuple[str, str]:
        """("task document" or "near task document", its id) for a text's `hashes`, or two empty strings."""
        if key in self.exact:
            return "task document", self.exact[key]
        mine = runs(words)
        first, last = np.searchsorted(self.runs, mine, "left"), np.searchsorted(self.runs, mine, "right")
        hits = [self.owners[a:b] for a, b in zip(first, last, strict=True) if b > a]
        if hits:
            shared = np.bincount(np.concatenate(hits), minlength=len(self.ids)) / np.minimum(self.sizes, len(mine))
            if shared.max() > SHARE:
                return "near task document", self.ids[int(shared.argmax())]
        return "", ""
