"""Apply a fine-tuned model that a run kept: entities in new texts as brat files, new patients in a table.

    .venv/bin/python -m helpers.application runs/RUN/finetuned/TASK/ARM TEXTS OUTPUT

TEXTS is a folder of .txt files or a .jsonl file as data/OWN.md has them, for a screening task a .jsonl file of patients
without labels; OUTPUT a new folder for brat, or a new .csv file. A research tool: not a medical device.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pandas as pd
from transformers import AutoTokenizer

from common.project import Mistake, write_json, write_table
from engine import training
from evidence.scores import calibrated
from helpers import models, ner, screening
from texts import own, standoff
from texts.documents import Document, Patient
from texts.tasks import in_letters

HOW = "reading.json"  # beside a kept model: how it reads, and how its scores are to be taken


def keep(folder: Path, tuned: ner.Tagger | screening.Screener, card: str, **how: Any) -> None:
    """Save a fine-tuned model with its tokenizer and card, and how it reads, where `_how` finds it.

    `how`: the fit's key, kind and language of the task, labels of entities; of patients aggregation, slope, intercept
    and threshold.
    """
    if training.accelerator().is_main_process:
        models.save(tuned.model.cpu(), tuned.tokenizer, folder, card)
        write_json(folder / HOW, {**how, "length": tuned.length, "overlap": tuned.overlap})


def key_of(folder: Path) -> str:
    """The key of the fit that a kept model is of; empty where there is none, or it is not whole."""
    try:
        _check_kept(folder)
        return str(_how(folder).get("key", ""))
    except (Mistake, ValueError):
        return ""


def tag(folder: Path, documents: Sequence[Document]) -> list[Document]:
    """The documents with the entities that a kept model finds in them."""
    how, tokenizer = _how(folder, "ner"), AutoTokenizer.from_pretrained(folder)
    tagger = ner.Tagger(str(folder), tokenizer, how["labels"], how["length"], how["overlap"], 0)
    training.place(tagger.model.eval(), training.accelerator())
    found = tagger.predict(documents, tagger.prepare(documents))
    return [replace(document, spans=tuple(spans)) for document, spans in zip(documents, found, strict=True)]


def screen(folder: Path, patients: Sequence[Patient]) -> pd.DataFrame:
    """A row a patient: score and probability of a kept model, and whether its threshold is reached."""
    how, tokenizer = _how(folder, "screening"), AutoTokenizer.from_pretrained(folder)
    screener = screening.Screener(str(folder), tokenizer, how["length"], how["overlap"], 0)
    training.place(screener.model.eval(), training.accelerator())
    pool = screening.AGGREGATIONS[how["aggregation"]]
    scores = [float(pool(logits)) for logits in screener.predict(screener.prepare(patients))]
    table = pd.DataFrame({"patient": [patient.id for patient in patients], "score": scores})
    table["probability"] = calibrated(logits=table["score"], slope=how["slope"], intercept=how["intercept"])
    return table.assign(flagged=(table["score"] >= how["threshold"]).astype(int))


def _learnt_so(document: Document) -> Document:
    """A document in the characters in which models read: composed, and in the letters of the corpora."""
    return in_letters(replace(document, text=normalize("NFC", document.text)))


def _check_kept(folder: Path) -> None:
    """Mistake unless a kept model is whole."""
    models.sound(folder)
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise Mistake(f"{folder}: has no {name}; make it again with the run that kept it")


def _check_new(output: Path) -> None:
    """Mistake unless something can be written there, and nothing is there yet."""
    if output.exists() or output.is_symlink():
        raise Mistake(f"{output}: is there already; name a new one")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(output.parent, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise Mistake(f"{output}: cannot be written ({error.strerror}); name another place") from None


def _how(folder: Path, kind: str = "") -> dict[str, Any]:
    """How a kept model reads; Mistake for a folder without one, or one of another kind of task."""
    try:
        how = json.loads((folder / HOW).read_text(encoding="utf-8"))
        how["language"], how["length"], how["overlap"], how["labels" if how["kind"] == "ner" else "threshold"]
    except OSError:
        raise Mistake(f"{folder}: has no {HOW}; give a model that a run kept, runs/RUN/finetuned/TASK/ARM") from None
    except (ValueError, TypeError, KeyError):
        raise Mistake(f"{folder / HOW}: is damaged; make it again with the run that kept it") from None
    if kind and how["kind"] != kind:
        raise Mistake(f"{folder}: is a model of {how['kind']}, not of {kind}")
    return how


def main(arguments: list[str]) -> int:
    """The command above; 2 for a mistake, told in a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "texts", "output"):
        parser.add_argument(name, type=Path)
    asked = parser.parse_args(arguments)
    try:
        how, texts = _how(asked.model), os.fspath(asked.texts.absolute())
        _check_kept(asked.model)
        _check_new(asked.output)
        if how["kind"] == "ner":
            documents = [*map(_learnt_so, own.documents(texts, how["language"]))]
            if not documents:
                raise Mistake(f"{texts}: is empty; give it some texts")
            standoff.write(asked.output, tag(asked.model, documents))
        else:
            patients = [*map(in_letters, own.patients(texts, how["language"]))]
            write_table(asked.output, screen(asked.model, patients))
    except (Mistake, OSError) as mistake:
        print(mistake, file=sys.stderr)
        return 2
    except ValueError as error:  # of a configuration or a tokenizer that cannot be read
        what = " ".join(str(error).split())[:100]
        print(f"{asked.model}: is damaged ({what}); make it again with the run that kept it", file=sys.stderr)
        return 2
    print(f"written: {asked.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
