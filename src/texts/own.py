"""Own files in place of public sources: corpora, labelled documents and patients, checked line by line.

A profile names them by a path, which has a "/" in it, where it would name a part or a task of data/sources.yaml. What
they look like is in data/OWN.md.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any
from unicodedata import normalize

from common.project import ROOT, Mistake, digest, file_digest
from texts import own_lines, standoff
from texts.documents import PARTS, Document, Note, Patient, Span
from texts.files import text_of

ENDINGS = (".txt", ".ann", ".jsonl")
BRAT_SETTINGS = {"annotation.conf", "visual.conf", "tools.conf", "kb_shortcuts.conf"}  # stand beside its files


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
        read = (file for file in _files(path) if file.suffix.lower() in ENDINGS and file.is_file())
        files = [(file, file.stat()) for file in read]
        return digest([(os.path.relpath(f, path), content(f, at.st_size, at.st_mtime_ns)) for f, at in files])


@cache
def content(path: Path, size: int, changed: int) -> str:
    """The digest of a file as it is, worked out once a process."""
    return file_digest(path)


def _files(path: Path) -> list[Path]:
    """The files of a folder and those below it, links followed and hidden ones left out, or the file itself."""
    if not path.is_dir():
        return [path] if path.is_file() else []

    def stop(error: OSError) -> None:
        raise error

    found = []
    for folder, below, names in os.walk(path, onerror=stop, followlinks=True):
        if os.path.islink(folder) and os.path.realpath(folder) in map(os.path.realpath, Path(folder).parents):
            raise Mistake(f"{folder}: is a link to a folder that it stands in; take it out")
        below[:] = [name for name in below if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(found)


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
            yield Document(id, language, row.text, patient=row.patient)


def _folder(path: Path, shown: str, language: str) -> Iterator[Document]:
    """A document for each .txt file, blank ones too, so that they are counted; what brat has beside them is no text."""
    texts = [(name, file) for name, file in _named(path, shown) if name.lower().endswith(".txt")]
    if not texts:
        raise Mistake(f"{shown}: no .txt file in this folder; give a folder of .txt files, or a .jsonl file")
    for name, file in texts:
        yield Document(name[:-4], language, text_of(f"{shown}/{name}", file.read_bytes()))


def _named(path: Path, shown: str) -> list[tuple[str, Path]]:
    """The .txt and .ann files of a folder and those below it, by their paths there; Mistake for any other file."""
    found = [(os.path.relpath(file, path), file) for file in _files(path) if file.name not in BRAT_SETTINGS]
    wrong = [name for name, _ in found if not name.lower().endswith((".txt", ".ann"))]
    if wrong:
        more = f" (and {len(wrong) - 1:,} more)" if len(wrong) > 1 else ""
        what = "save as .txt what is to be read, and take the rest out"
        raise Mistake(f"{shown}/{ascii(wrong[0])[1:-1]}: is no .txt or .ann file{more}; {what}")
    seen: set[str] = set()
    for name, file in found:
        if (same := name[:-4] + name[-4:].lower()) in seen:
            raise Mistake(f"{shown}/{name}: stands twice, in small letters and in capitals; leave one of them")
        seen.add(same)
        if not name.isprintable():
            raise Mistake(f"{shown}/{ascii(name)[1:-1]}: a file's name is printable UTF-8; rename it")
        if file.exists() and not file.is_file():
            raise Mistake(f"{shown}/{name}: is no file; take it out")
    return found


def task(name: str, kind: str, language: str, trained: bool, limits: Mapping[str, int] = {}) -> dict[str, list[Any]]:
    """The documents ("ner") or patients ("screening") of a task's folder by part: all three, or test alone.

    A part is <part>.jsonl, or for entities a folder <part>/ of brat files, cut to its first `limits` items. Mistake for
    a part that is missing, malformed or empty, has an id that another item has or a patient of another part, or nothing
    that could be scored.
    """
    folder, shown = place(name), name.rstrip("/")
    if not folder.is_dir():
        raise Mistake(f"{name}: is no folder; a task is a folder with {', '.join(PARTS)}")
    found: dict[str, list[Any]] = {}
    owners: dict[str, str] = {}
    of_patient: dict[str, str] = {}
    for part in PARTS if trained else ("test",):
        with _readable():
            placed = list(_part(folder, f"{shown}/{part}", part, kind, language))
        if not placed:
            raise Mistake(
                f"{shown}/{part}: is empty; give it some {'patients' if kind == 'screening' else 'documents'}"
            )
        for where, item in placed:
            if item.id in owners:
                raise Mistake(f"{where}: id: is that of {owners[item.id]}; rename one, or take out what stands twice")
            owners[item.id] = where
            patient = getattr(item, "patient", "")
            if patient and of_patient.setdefault(patient, part) != part:
                raise Mistake(f"{where}: patient: is in {of_patient[patient]} too; give all of a patient to one part")
        found[part] = items = [item for _, item in placed[: limits.get(part)]]
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
    if not sum(bool(document.text.strip()) for document in documents(name, language)):
        raise Mistake(f"{name}: has no text")


def _part(folder: Path, shown: str, part: str, kind: str, language: str) -> Iterator[tuple[str, Document | Patient]]:
    """The items of one part of a task, each after the place where it stands."""
    file, brat = folder / f"{part}.jsonl", folder / part
    if kind == "ner" and brat.is_dir():
        if file.exists():
            raise Mistake(f"{shown}: is a folder, and {file.name} stands beside it; leave one of them")
        yield from _brat(brat, shown, part, language)
        return
    if not file.is_file():
        more = f", or brat files in {shown}/ (test alone: trained: false)" if kind == "ner" else ""
        raise Mistake(f"{shown}.jsonl: is missing; a task has {', '.join(PARTS)}{more}")
    kind_of_line = own_lines.Person if kind == "screening" else own_lines.Labelled
    for where, row in own_lines.read(file, f"{shown}.jsonl", kind_of_line):
        if isinstance(row, own_lines.Person):
            yield where, Patient(row.id, language, row.label, _notes(row))
        else:
            spans = [(f"{where}: spans.{at}", Span(s.start, s.end, s.label)) for at, s in enumerate(row.spans)]
            yield where, replace(_labelled(row.id, language, row.text, spans), patient=row.patient)


def _notes(row: own_lines.Unjudged) -> tuple[Note, ...]:
    """A patient's notes, oldest first, in composed characters."""
    return tuple(sorted((Note(n.date, normalize("NFC", n.text)) for n in row.notes), key=lambda note: note.date))


def patients(name: str, language: str) -> list[Patient]:
    """The patients of a .jsonl file, who have no label (-1); Mistake for a malformed line, or two of one id."""
    found, seen = [], dict[str, str]()
    if place(name).is_dir():
        raise Mistake(f"{name}: is a folder; give a .jsonl file, a line a patient")
    with _readable():
        for where, row in own_lines.read(place(name), name, own_lines.Unjudged):
            if row.id in seen:
                raise Mistake(f"{where}: id: is that of {seen[row.id]}; rename one, or take out what stands twice")
            seen[row.id] = where
            found.append(Patient(row.id, language, -1, _notes(row)))
    if not found:
        raise Mistake(f"{name}: is empty; give it some patients")
    return found


def _brat(folder: Path, shown: str, part: str, language: str) -> Iterator[tuple[str, Document]]:
    """The documents of a folder of brat files and those below it, each after the place of its text."""
    pairs: dict[str, dict[str, Path]] = {}
    for name, file in _named(folder, shown):
        pairs.setdefault(name[:-4], {})[name[-4:].lower()] = file
    for stem, pair in pairs.items():
        files = ((f"{shown}/{stem}{end}", pair[end].read_bytes()) for end in sorted(pair))
        for document, mentions in standoff.annotated(files, language, Counter()):
            if not document.text.strip():
                raise Mistake(f"{shown}/{stem}.txt: is blank; take it and its .ann out")
            spans = [(mention.place, _said(document.text, mention)) for mention in mentions]
            yield f"{shown}/{stem}.txt", _labelled(f"{part}/{stem}", language, document.text, spans)


def _said(text: str, mention: standoff.Mention) -> Span:
    """A mention as a span; Mistake for one in several pieces, with a label that is refused, or out of its place."""
    (start, end), *more = mention.pieces
    if more:
        raise Mistake(
            f"{mention.place}: is in {1 + len(more)} pieces; give it as one from start to end, or take it out"
        )
    try:
        label = own_lines.entity_label(mention.label)
    except ValueError as error:
        raise Mistake(f"{mention.place}: label: {error}") from None
    if standoff.misplaced(text, mention):
        raise Mistake(f"{mention.place}: {start} {end} is not where its text stands; mend the offsets or the text")
    return Span(start, end, label)


def _labelled(id: str, language: str, text: str, placed: list[tuple[str, Span]]) -> Document:
    """A document in composed characters (NFC), as corpora are; Mistake at the place of a span that cannot be scored."""
    whole, seen, spans = normalize("NFC", text), dict[Span, str](), list[Span]()
    for where, span in placed:
        said = text[span.start : span.end]
        if not span.start < span.end <= len(text):
            what = f"{span.start} to {span.end} is not within the text's {len(text)} characters"
            raise Mistake(f"{where}: {what}; start counts from 0, end is the character after the last")
        if said != said.strip():
            raise Mistake(f"{where}: begins or ends with a blank; mend the offsets")
        if span in seen:
            raise Mistake(f"{where}: is the same as {seen[span]}; take one out")
        seen[span] = where
        start, end = (at if whole == text else len(normalize("NFC", text[:at])) for at in (span.start, span.end))
        if whole[start:end] != normalize("NFC", said):
            raise Mistake(f"{where}: cuts a letter from its accent, a character of its own here; mend the offsets")
        spans.append(Span(start, end, span.label))
    return Document(id, language, whole, tuple(sorted(spans, key=lambda s: (s.start, s.end, s.label))))
