"""The task sets of a run: made or read once with their labels and counts, then handed out by part."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import HTML

from common.project import Mistake, write_json
from texts import readers, sources, synthetic
from texts.cleaning import folded, lettered
from texts.documents import PARTS, Document, Patient, read_jsonl, write_jsonl


def build(folder: Path, wanted: Sequence[dict[str, Any]], seed: int) -> pd.DataFrame:
    """Write every task's parts below corpora/tasks/ and corpora/tasks.json; return items and mentions by part.

    `also in train`: items of dev or test whose text, or one of whose notes, is in the training part but for case and
    spaces; `in train of others`: in that of another task with a label in common, whose models are tested here, too.
    """
    # What another choice of tasks left; without the first of it 01 counts as unfinished.
    for path in (folder / "corpora" / old for old in ("statistics.csv", "tasks.json", "tasks")):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    made = [(spec, part, [*map(in_letters, items)]) for spec in wanted for part, items in _parts(spec, seed).items()]
    learnt = {spec["name"]: set[str]().union(*map(_folded, items)) for spec, part, items in made if part == "train"}
    labels, rows = {spec["name"]: set[str]() for spec in wanted}, []
    for spec, part, items in made:
        write_jsonl(folder / "corpora" / "tasks" / spec["name"] / f"{part}.jsonl", items)
        labels[spec["name"]] |= {span.label for item in items for span in getattr(item, "spans", ())}
        shared = {*spec.get("common", {}).values()}
        near = [o["name"] for o in wanted if o is not spec and shared & {*o.get("common", {}).values()}]
        texts = [] if part == "train" else [*map(_folded, items)]
        rows.append(row := {"task": spec["name"], "part": part, **_size(items)})
        for name, of in (("also in train", [spec["name"]]), ("in train of others", near)):
            known = set[str]().union(*(learnt.get(task, ()) for task in of))
            row[name] = sum(not text.isdisjoint(known) for text in texts)
    write_json(folder / "corpora" / "tasks.json", [{**s, "labels": sorted(labels[s["name"]])} for s in wanted])
    return pd.DataFrame(rows)


def _made(spec: dict[str, Any], seed: int) -> dict[str, list[Any]]:
    """The parts of a synthetic task."""
    if spec["kind"] == "screening":
        return {part: list(synthetic.patients(n, seed, part)) for part, n in spec["documents"].items()}
    made = {p: synthetic.ner_documents(spec["language"], p, n, seed) for p, n in spec["documents"].items()}
    return {part: list(items) for part, items in made.items()}


def _parts(spec: dict[str, Any], seed: int) -> dict[str, list[Any]]:
    """The parts of a task, made or read; `documents` cuts a part of data/sources.yaml to its first ones."""
    if spec["source"] == "synthetic":
        return _made(spec, seed)
    if sources.is_own(spec["source"]):
        from texts import own  # here, as most runs have none

        return own.task(spec["source"], spec["kind"], spec["language"], spec["trained"], spec["documents"])
    parts = readers.tasks(spec["source"])
    return {part: items[: spec["documents"].get(part)] for part, items in parts.items()}


def _size(items: Sequence[Any]) -> dict[str, int]:
    """Items of a part, and its gold mentions or positive patients."""
    gold = sum(len(i.spans) if isinstance(i, Document) else i.label for i in items)
    return {"items": len(items), "gold": gold, "characters": sum(len(text) for i in items for text in _texts(i))}


def in_letters(item: Document | Patient) -> Document | Patient:
    """An item in the letters of the corpora: to a vocabulary that is learnt from them others are unknown."""
    if isinstance(item, Document):
        return replace(item, text=lettered(item.text, item.language))
    notes = (replace(note, text=lettered(note.text, item.language)) for note in item.notes)
    return replace(item, notes=tuple(notes))


def _texts(item: Document | Patient) -> list[str]:
    return [item.text] if isinstance(item, Document) else [note.text for note in item.notes]


def _folded(item: Document | Patient) -> set[str]:
    """The texts of an item in the form in which they are compared; none for a blank one."""
    return set(map(folded, _texts(item))) - {""}


def task(folder: Path, name: str) -> dict[str, Any]:
    """A task of a run: its name, kind, language, source, labels and shared labels."""
    listed = json.loads((folder / "corpora" / "tasks.json").read_text(encoding="utf-8"))
    for spec in listed:
        if spec["name"] == name:
            return spec
    raise Mistake(f"task {name!r} is unknown in {folder.name}; allowed: {[spec['name'] for spec in listed]}")


def split(folder: Path, name: str, part: str) -> list[Any]:
    """Documents or patients of a task's train, dev or test part; none of a task that is a test set only.

    Mistake where a part is gone.
    """
    spec, path = task(folder, name), folder / "corpora" / "tasks" / name / f"{part}.jsonl"
    if path.is_file():
        return list(read_jsonl(path, Patient if spec["kind"] == "screening" else Document))
    if part == "test" or spec.get("trained", True):
        raise Mistake(f"{path}: is missing; run 01_build_corpora again")
    return []


def held_out(folder: Path) -> Iterator[Document]:
    """The documents and notes in the dev and test sets of a run's tasks; `folder` is the run's."""
    for spec in json.loads((folder / "corpora" / "tasks.json").read_text(encoding="utf-8")):
        for item in chain(*(split(folder, spec["name"], part) for part in ("dev", "test"))):
            if isinstance(item, Patient):
                notes, patient = [(n.date, n.text) for n in item.notes], item.id
            else:
                notes, patient = [("", item.text)], item.patient
            for date, text in notes:
                yield Document(f"{spec['name']}/{item.id} {date}".strip(), item.language, text, patient=patient)


def made_up(folder: Path) -> bool:
    """Whether any text of the run is synthetic, so that its results are no evidence."""
    return json.loads((folder / "corpora" / "origin.json").read_text(encoding="utf-8"))["synthetic"]


def summary(folder: Path, name: str) -> pd.DataFrame:
    """Items, gold mentions or positives, and characters of each part of a task."""
    return pd.DataFrame({part: _size(split(folder, name, part)) for part in PARTS}).rename_axis(name)


def show(folder: Path, name: str) -> HTML:
    """A task's first training item, or test item if it trains nothing: mentions marked (NER), or dated notes."""
    item = split(folder, name, "train" if task(folder, name)["trained"] else "test")[0]
    if isinstance(item, Patient):
        notes = "".join(
            f"<p style='white-space:pre-wrap'><b>{note.date}</b> {escape(note.text)}</p>" for note in item.notes
        )
        return HTML(f"<div>{notes}<p>label: <b>{'include' if item.label else 'do not include'}</b></p></div>")
    html, at = "", 0
    for span in sorted(item.spans, key=lambda s: s.start):
        if span.start >= at:
            html += escape(item.text[at : span.start])
            html += f"<mark>{escape(item.text[span.start : span.end])}<sub>{span.label}</sub></mark>"
            at = span.end
    return HTML(f"<p style='line-height:1.8; white-space:pre-wrap'>{html}{escape(item.text[at:])}</p>")
