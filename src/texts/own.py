"""Own files in place of public sources: corpora, labelled documents and patients, checked line by line.

A profile names them by a path, which has a "/" in it, where it would name a part or a task of data/sources.yaml. What
they look like is in data/OWN.md.
"""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from helpers.project import ROOT, Mistake, digest
from texts import readers
from texts.documents import Document, Note, Patient, Span

PARTS = ("train", "dev", "test")


def _iso(value: Any) -> str:
    """A date as YYYY-MM-DD; ValueError for any other."""
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        raise ValueError("a date is a text like 2020-12-31") from None


class Row(BaseModel, strict=True):
    """A line of a corpus; one without an id goes by its number."""

    id: str = Field(default="", max_length=200)
    text: str = Field(min_length=1)


class Mention(BaseModel, strict=True):
    """A labelled entity: characters `start` to `end` (exclusive)."""

    start: int = Field(ge=0)
    end: int
    label: str = Field(pattern=r"^\S+$")


class Labelled(Row, strict=True):
    """A line of an entity task."""

    id: str = Field(min_length=1, max_length=200)
    spans: list[Mention]


class Dated(BaseModel, strict=True):
    """A note of a patient."""

    date: Annotated[str, BeforeValidator(_iso)]
    text: str = Field(min_length=1)


class Person(BaseModel, strict=True):
    """A line of a screening task."""

    id: str = Field(min_length=1, max_length=200)
    label: int = Field(ge=0, le=1)
    notes: list[Dated] = Field(min_length=1)


def place(name: str) -> Path:
    """The file or folder that a profile names, below the compendium unless absolute."""
    return ROOT / Path(name).expanduser()


def state(name: str) -> str:
    """A digest of names, sizes and times of the files: another one makes what was built from them stale."""
    path = place(name)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return digest([(str(p), at.st_size, at.st_mtime_ns) for p in files if p.is_file() and (at := p.stat())])


def documents(name: str, language: str) -> Iterator[Document]:
    """Stream the texts of a corpus: the lines of a .jsonl file, or the .txt files of a folder and those below it.

    Mistake for what is neither, for a malformed line, and for two texts of one id.
    """
    path, seen = place(name), set[str]()
    if path.is_dir():
        files = sorted(path.rglob("*.txt"))
        if not files:
            raise Mistake(f"{name}: no .txt file in this folder; give a folder of .txt files, or a .jsonl file")
        blemishes: Counter[str] = Counter()
        for file in files:
            shown = str(file.relative_to(path))
            for document in readers.plain([(f"{name.rstrip('/')}/{shown}", file.read_bytes())], language, blemishes):
                yield Document(shown.removesuffix(".txt"), language, document.text)
        return
    for number, row in _rows(path, name, Row):
        id = row.id or f"line {number}"
        if id in seen:
            raise Mistake(f"{name}, line {number}: id: {id!r} stands twice; give every text its own, or none")
        seen.add(id)
        yield Document(id, language, row.text)


def task(name: str, kind: str, language: str, trained: bool) -> dict[str, list[Any]]:
    """The documents ("ner") or patients ("screening") of a task's folder by part: all three, or test alone.

    A part is <part>.jsonl, or for entities a folder <part>/ of brat files. Mistake for a part that is missing or
    malformed, has an id that another one has, or nothing in it that could be scored.
    """
    found: dict[str, list[Any]] = {}
    owners: dict[str, str] = {}
    for part in PARTS if trained else ("test",):
        found[part] = items = list(_part(place(name), f"{name.rstrip('/')}/{part}", part, kind, language))
        for item in items:
            if item.id in owners:
                where = f"in {owners[item.id]} and in {part}" if owners[item.id] != part else f"twice in {part}"
                raise Mistake(f"{name}: {item.id!r} stands {where}; an item belongs to one part, once")
            owners[item.id] = part
        labels = {item.label for item in items} if kind == "screening" else {s.label for d in items for s in d.spans}
        if kind == "screening" and labels != {0, 1}:
            raise Mistake(f"{name}/{part}: needs patients of label 0 and of label 1; found {sorted(labels)}")
        if not labels:
            raise Mistake(f"{name}/{part}: has no labelled entity, so that nothing could be learnt or scored")
    return found


def check(name: str, language: str) -> None:
    """Read all of a corpus; Mistake as `documents` says, or when there is no text."""
    if not sum(1 for _ in documents(name, language)):
        raise Mistake(f"{name}: has no text")


def _part(folder: Path, shown: str, part: str, kind: str, language: str) -> Iterator[Document | Patient]:
    """The items of one part of a task."""
    file, brat = folder / f"{part}.jsonl", folder / part
    if kind == "ner" and brat.is_dir() and not file.is_file():
        files = ((f"{shown}/{p.name}", p.read_bytes()) for p in sorted(brat.iterdir()) if p.suffix in (".txt", ".ann"))
        blemishes: Counter[str] = Counter()
        yield from readers.brat(files, language, blemishes)
        if blemishes["misplaced mention"]:
            raise Mistake(f"{shown}: {blemishes['misplaced mention']} mentions do not say what stands at their offsets")
        return
    if not file.is_file():
        brat_too = f", or brat files in {shown}/" if kind == "ner" else ""
        raise Mistake(
            f"{shown}.jsonl: is missing; a task has {', '.join(PARTS)}{brat_too} (test alone: trained: false)"
        )
    for number, row in _rows(file, f"{shown}.jsonl", Person if kind == "screening" else Labelled):
        if isinstance(row, Person):
            notes = sorted((Note(note.date, note.text) for note in row.notes), key=lambda note: note.date)
            yield Patient(row.id, language, row.label, tuple(notes))
            continue
        for at, span in enumerate(row.spans):
            if not span.start < span.end <= len(row.text):
                raise Mistake(
                    f"{shown}.jsonl, line {number}: spans.{at}: {span.start} to {span.end} is not within the text's "
                    f"{len(row.text)} characters; start counts from 0, end is the character after the last"
                )
        spans = sorted((s.start, s.end, s.label) for s in row.spans)
        yield Document(row.id, language, row.text, tuple(Span(*span) for span in spans))


def _rows(path: Path, shown: str, kind: type[BaseModel]) -> Iterator[tuple[int, Any]]:
    """The numbered lines of a .jsonl file as `kind`, blank ones left out; a Mistake never repeats their text."""
    if path.suffix != ".jsonl":
        raise Mistake(f"{shown}: is no .jsonl file and no folder; give a .jsonl file, or a folder of .txt files")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
                if not isinstance(row, dict):
                    raise Mistake(f"{shown}, line {number}: is no object; a line is {_shape(kind)}")
                yield number, kind.model_validate(row)
            except UnicodeDecodeError as error:
                raise Mistake(f"{shown}, line {number}: byte {error.start} is not UTF-8; convert the file") from None
            except json.JSONDecodeError as error:
                what = f"no JSON at character {error.pos} ({error.msg})"
                raise Mistake(f"{shown}, line {number}: {what}; a line is one object, {_shape(kind)}") from None
            except ValidationError as error:
                first = error.errors(include_input=False, include_url=False)[0]
                why = f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
                raise Mistake(f"{shown}, line {number}: {why}; a line is {_shape(kind)}") from None


def _shape(kind: type[BaseModel]) -> str:
    """What a line looks like."""
    return {
        Row: '{"id": "…", "text": "…"}, id may be left out',
        Labelled: '{"id": "…", "text": "…", "spans": [{"start": 0, "end": 4, "label": "DISO"}]}',
        Person: '{"id": "…", "label": 0 or 1, "notes": [{"date": "2020-12-31", "text": "…"}]}',
    }[kind]
