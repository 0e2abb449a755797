"""Lines of own .jsonl files: what each must hold, and one plain message, without its text, for what does not."""

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any
from unicodedata import normalize

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from common.project import Mistake
from texts.cleaning import normalise

# What tables of results have for an average or for no entity, and what pandas reads as an empty cell.
RESERVED = {"all", "O", "NA", "N/A", "n/a", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "<NA>"}
RESERVED |= {"#N/A", "#N/A N/A", "#NA", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"}
WHEN = "give a date like 2020-12-31; if it is unknown, any that puts the notes in their order"


def _whole(value: Any) -> Any:
    """What can be written as UTF-8; ValueError for a text with half a character."""
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(str(value)[error.start]):x}"
        raise ValueError(f"has half a character, {half}, at {error.start}; write the text anew as UTF-8") from None
    return value


def _iso(value: Any) -> str:
    """A date as YYYY-MM-DD; ValueError for any other."""
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        raise ValueError(f"is no date; {WHEN}") from None


def _said(value: str) -> str:
    """A text with something in it; ValueError for a blank one."""
    if not value.strip():
        raise ValueError("is blank")
    return value


def entity_label(value: Any) -> Any:
    """An entity label in composed characters, as texts are; ValueError for one with a blank or what cannot be seen.

    ValueError too for one with another meaning in tables of results.
    """
    if not isinstance(_whole(value), str):
        return value
    if not value or re.search(r"\s", value):
        raise ValueError("has a blank, or nothing in it; write it as one word, like DISO or side_effect")
    if not value.isprintable():
        raise ValueError(f"{ascii(value)} has a character that cannot be seen; take it out")
    if value in RESERVED:
        raise ValueError(f"{value!r} means something else in tables of results; take another word")
    return normalize("NFC", value)


def _included(value: Any) -> int:
    """Label 0 or 1 of a patient; ValueError for any other."""
    if type(value) is int and value in (0, 1):
        return value
    long = isinstance(value, list | dict) or len(str(value)) > 5
    raise ValueError(f"found {'something else' if long else json.dumps(value)}; allowed: 0 or 1, without quotes")


Text = Annotated[str, AfterValidator(_said), BeforeValidator(_whole)]
Id = Annotated[str, Field(max_length=200), BeforeValidator(_whole), AfterValidator(normalise)]
Named = Annotated[Id, AfterValidator(_said)]


class Row(BaseModel, strict=True):
    """A line of a corpus; one without an id goes by its number. `patient`: whose text it is."""

    id: Id = ""
    text: Text
    patient: Id = ""


class Mention(BaseModel, strict=True):
    """A labelled entity: characters `start` to `end` (exclusive)."""

    start: int = Field(ge=0)
    end: int
    label: Annotated[str, BeforeValidator(entity_label)]


class Labelled(Row, strict=True):
    """A line of an entity task."""

    id: Named
    spans: list[Mention]


class Dated(BaseModel, strict=True):
    """A note of a patient."""

    date: Annotated[str, BeforeValidator(_iso)]
    text: Text


class Unjudged(BaseModel, strict=True):
    """A patient of whom it is not known whether to be included."""

    id: Named
    notes: list[Dated] = Field(min_length=1)


class Person(Unjudged, strict=True):
    """A line of a screening task."""

    label: Annotated[int, BeforeValidator(_included)]


SHAPES: dict[type[BaseModel], str] = {
    Row: '{"id": "…", "text": "…", "patient": "…"}, id and patient may be left out',
    Labelled: '{"id": "…", "text": "…", "spans": [{"start": 0, "end": 4, "label": "DISO"}]}',
    Unjudged: '{"id": "…", "notes": [{"date": "2020-12-31", "text": "…"}]}',
    Person: '{"id": "…", "label": 0 or 1, "notes": [{"date": "2020-12-31", "text": "…"}]}',
}
KEYS = {name for kind in (*SHAPES, Mention, Dated) for name in kind.model_fields}


def read(path: Path, shown: str, kind: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """("<shown>, line <number>", line as `kind`) of a .jsonl file, blank ones left out; Mistake for a malformed one."""
    if path.suffix.lower() != ".jsonl":
        raise Mistake(f"{shown}: is no .jsonl file and no folder; give a .jsonl file, or a folder of .txt files")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                place = f"{shown}, line {number}"
                yield place, _parsed(line, number == 1, place, kind)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; KeyError for one of our keys that stands twice, as the last would count in silence."""
    names = [name for name, _ in pairs if name in KEYS]
    if again := [name for name in names if names.count(name) > 1]:
        raise KeyError(again[0])
    return dict(pairs)


def _parsed(line: bytes, first: bool, place: str, kind: type[BaseModel]) -> BaseModel:
    """A line as `kind`; Mistake where it is none."""
    shape = SHAPES[kind]
    try:
        row = json.loads(line.decode("utf-8-sig" if first else "utf-8"), object_pairs_hook=_object)
        if not isinstance(row, dict):
            raise Mistake(f"{place}: is no object; a line is {shape}")
        return kind.model_validate(row)
    except UnicodeDecodeError as error:
        raise Mistake(f"{place}: byte {error.start} is not UTF-8; convert the file") from None
    except KeyError as error:
        raise Mistake(f"{place}: has {error} twice in one object; a line is {shape}") from None
    except RecursionError:
        raise Mistake(f"{place}: is nested too deep; a line is {shape}") from None
    except json.JSONDecodeError as error:
        what = f"no JSON at character {error.pos} ({error.msg})"
        raise Mistake(f"{place}: {what}; a line is one object, {shape}") from None
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        why = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "missing":
            why = f"is missing; {WHEN}" if fault["loc"][-1] == "date" else "is missing"
        raise Mistake(f"{place}: {'.'.join(map(str, fault['loc']))}: {why}; a line is {shape}") from None
    except ValueError:  # a number of thousands of digits
        raise Mistake(f"{place}: has a number that is too long; a line is {shape}") from None
