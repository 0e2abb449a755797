"""Own files in place of public sources: corpora, labelled documents and patients, checked line by line.

A profile names them by a path, which has a "/" in it, where it would name a part or a task of data/sources.yaml. What
they look like is in data/OWN.md.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from helpers.project import ROOT, Mistake, digest, file_digest
from texts import own_lines, readers
from texts.documents import PARTS, Document, Note, Patient, Span

ENDINGS = (".txt", ".ann", ".jsonl")


def place(name: str) -> Path:
    """The file or folder that a profile names, below the compendium unless absolute; Mistake for an unknown user's."""
    try:
        return ROOT / Path(name).expanduser()
    except RuntimeError:
        raise Mistake(f"{name}: there is no such user's folder; give the whole path") from None


def state(name: str) -> str:
    """A digest of the files that would be read: another one makes what was built from them stale."""
    path = place(name)
    with _readable():
        files = [(file, file.stat()) for file in _files(path) if file.is_file()]
        return digest([(os.path.relpath(f, path), _content(f, at.st_size, at.st_mtime_ns)) for f, at in files])


@cache
def _content(path: Path, size: int, changed: int) -> str:
    """The digest of a file as it is, worked out once a process."""
    return file_digest(path)


def _files(path: Path) -> list[Path]:
    """The files of a folder and those below it that could be read, links followed, or the file itself."""
    if not path.is_dir():
        return [path] if path.is_file() else []

    def stop(error: OSError) -> None:
        raise error

    walked = os.walk(path, onerror=stop, followlinks=True)
    found = sorted(Path(folder, name) for folder, _, names in walked for name in names)
    return [file for file in found if file.suffix in ENDINGS]


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what keeps a file from being read into a Mistake."""
    try:
        yield
    except OSError as error:
        raise Mistake(
            f"{error.filename}: cannot be read ({error.strerror}); make it readable, or take it out"
        ) from None


def documents(name: str, language: str) -> Iterator[Document]:
    """Stream the texts of a corpus: the lines of a .jsonl file, or the .txt files of a folder and those below it.

    Mistake for what is neither or cannot be read, for a malformed line, and for two texts of one id.
    """
    path, seen = place(name), dict[str, str]()
    with _readable():
        if path.is_dir():
            yield from _folder(path, name.rstrip("/"), language)
            return
        for where, row in own_lines.read(path, name, own_lines.Row):
            id = row.id or where.removeprefix(f"{name}, ")
            if id in seen:
                raise Mistake(f"{where}: id: is that of {seen[id]}; give every text its own, or none")
            seen[id] = where
            yield Document(id, language, row.text)


def _folder(path: Path, shown: str, language: str) -> Iterator[Document]:
    """A document for each .txt file that is not blank."""
    files, blemishes = [file for file in _files(path) if file.suffix == ".txt"], Counter[str]()
    if not files:
        raise Mistake(f"{shown}: no .txt file in this folder; give a folder of .txt files, or a .jsonl file")
    for file in files:
        name = os.path.relpath(file, path)
        if file.exists() and not file.is_file():
            raise Mistake(f"{shown}/{name}: is no file; take it out")
        for document in readers.plain([(f"{shown}/{name}", file.read_bytes())], language, blemishes):
            yield Document(name.removesuffix(".txt"), language, document.text)


def task(name: str, kind: str, language: str, trained: bool, limits: Mapping[str, int] = {}) -> dict[str, list[Any]]:
    """The documents ("ner") or patients ("screening") of a task's folder by part: all three, or test alone.

    A part is <part>.jsonl, or for entities a folder <part>/ of brat files, cut to its first `limits` items. Mistake for
    a part that is missing, malformed or empty, has an id that another item has, or nothing that could be scored.
    """
    folder, shown = place(name), name.rstrip("/")
    if not folder.is_dir():
        raise Mistake(f"{name}: is no folder; a task is a folder with {', '.join(PARTS)}")
    found: dict[str, list[Any]] = {}
    owners: dict[str, str] = {}
    for part in PARTS if trained else ("test",):
        with _readable():
            items = list(_part(folder, f"{shown}/{part}", part, kind, language))
        if not items:
            raise Mistake(
                f"{shown}/{part}: is empty; give it some {'patients' if kind == 'screening' else 'documents'}"
            )
        for number, item in enumerate(items, start=1):
            if item.id in owners:
                what = f"item {number} of {part} has the id of {owners[item.id]}"
                raise Mistake(f"{shown}: {what}; an item belongs to one part, once")
            owners[item.id] = f"item {number} of {part}"
        found[part] = items = items[: limits.get(part)]
        found_labels = labels(items)
        if kind == "screening" and found_labels != {0, 1}:
            least = f"its first {len(items):,} patients need" if part in limits else "needs"
            told = f"{least} label 0 and label 1, each at least once; found {sorted(found_labels)}"
            raise Mistake(f"{shown}/{part}: {told}")
        if not found_labels:
            raise Mistake(f"{shown}/{part}: has no labelled entity, so that nothing could be learnt or scored")
    return found


def labels(items: Iterable[Document | Patient]) -> set[Any]:
    """The labels of some patients, or of the entities in some documents."""
    by_item = ([item.label] if isinstance(item, Patient) else [span.label for span in item.spans] for item in items)
    return set(chain.from_iterable(by_item))


def check(name: str, language: str) -> None:
    """Read all of a corpus; Mistake as `documents` says, or when there is no text."""
    if not sum(1 for _ in documents(name, language)):
        raise Mistake(f"{name}: has no text")


def _part(folder: Path, shown: str, part: str, kind: str, language: str) -> Iterator[Document | Patient]:
    """The items of one part of a task."""
    file, brat = folder / f"{part}.jsonl", folder / part
    if kind == "ner" and brat.is_dir():
        if file.exists():
            raise Mistake(f"{shown}: is a folder, and {file.name} stands beside it; leave one of them")
        yield from _brat(brat, shown, language)
        return
    if not file.is_file():
        more = f", or brat files in {shown}/ (test alone: trained: false)" if kind == "ner" else ""
        raise Mistake(f"{shown}.jsonl: is missing; a task has {', '.join(PARTS)}{more}")
    kind_of_line = own_lines.Person if kind == "screening" else own_lines.Labelled
    for where, row in own_lines.read(file, f"{shown}.jsonl", kind_of_line):
        if isinstance(row, own_lines.Person):
            notes = sorted((Note(note.date, note.text) for note in row.notes), key=lambda note: note.date)
            yield Patient(row.id, language, row.label, tuple(notes))
            continue
        for at, span in enumerate(row.spans):
            if not span.start < span.end <= len(row.text):
                raise Mistake(
                    f"{where}: spans.{at}: {span.start} to {span.end} is not within the text's "
                    f"{len(row.text)} characters; start counts from 0, end is the character after the last"
                )
            if row.text[span.start : span.end] != row.text[span.start : span.end].strip():
                raise Mistake(f"{where}: spans.{at}: begins or ends with a blank; check the offsets")
        spans = sorted({(s.start, s.end, s.label) for s in row.spans})
        if len(spans) < len(row.spans):
            raise Mistake(f"{where}: spans: one stands twice; take it out")
        yield Document(row.id, language, row.text, tuple(Span(*span) for span in spans))


def _brat(folder: Path, shown: str, language: str) -> Iterator[Document]:
    """The documents of a folder of brat files, of which no mention may be misplaced."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".txt", ".ann"))
    for stem in dict.fromkeys(name[:-4] for name in names):
        files = (
            (f"{shown}/{stem}{e}", (folder / f"{stem}{e}").read_bytes()) for e in (".ann", ".txt") if stem + e in names
        )
        blemishes: Counter[str] = Counter()
        yield from readers.brat(files, language, blemishes)
        if count := blemishes["misplaced mention"]:
            raise Mistake(f"{shown}/{stem}.ann: {count} mentions do not say what stands at their offsets; mend these")
