"""One type for every text: documents with character spans, and patients with dated notes; JSON lines in and out."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from common.project import Mistake

PARTS = ("train", "dev", "test")  # of a task


@dataclass(frozen=True, slots=True)
class Span:
    """An entity mention: characters `start` to `end` (exclusive) of its document, and its type."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Document:
    """A text in one language, of a `patient` if known; `spans` are its gold mentions, empty where it is unlabelled."""

    id: str
    language: str
    text: str
    spans: tuple[Span, ...] = ()
    patient: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """One clinical note with its ISO date."""

    date: str
    text: str


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient's notes, oldest first, and the screening label: 1 = to be included, 0 = not."""

    id: str
    language: str
    label: int
    notes: tuple[Note, ...]


def write_jsonl(path: Path, items: Iterable[Document | Patient]) -> int:
    """Stream `items` to `path`, one JSON object a line, and return how many; `path` appears only when complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    with beside.open("w", encoding="utf-8") as file:
        for item in items:
            count += 1
            file.write(json.dumps(asdict(item), ensure_ascii=False) + "\n")
    os.replace(beside, path)
    return count


def shuffle_lines(path: Path, key: Sequence[int]) -> None:
    """Put the lines of a file in the random order that follows from `key`; memory holds where each begins."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with path.open("rb") as file, beside.open("wb") as shuffled:
        ends = np.fromiter(map(len, file), int).cumsum()
        for start in np.random.default_rng(key).permutation(np.concatenate([[0], ends[:-1]])):
            file.seek(start)
            shuffled.write(file.readline())
    os.replace(beside, path)


def read_jsonl(path: Path, kind: type[Document] | type[Patient] = Document) -> Iterator[Document | Patient]:
    """Stream the items of a file that `write_jsonl` made; Mistake where it is damaged."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except ValueError:
                raise Mistake(f"{path}, line {number}: is damaged; run 01_build_corpora again") from None
            if kind is Patient:
                row["notes"] = tuple(Note(**note) for note in row["notes"])
            else:
                row["spans"] = tuple(Span(**span) for span in row["spans"])
            yield kind(**row)
