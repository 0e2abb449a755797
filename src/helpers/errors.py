"""What kinds of errors models make: entities by how they miss, patients wrongly flagged or missed; with their text.

Kinds after those that MUC and SemEval 2013 task 9.1 tell apart. Exact matches aside, gold and predicted entities that
overlap most make pairs, with their boundary, their type or both wrong; of the rest gold is missed, predicted false.
"""

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from itertools import pairwise
from typing import Any

import pandas as pd

from evidence import scores
from texts.documents import Document, Patient

KINDS = ("boundary", "type", "type and boundary", "missed", "false")
AROUND, NOTE = 40, 160  # characters that are shown around an entity, and of a note
EACH = 2  # errors of a kind


def kinds(rows: pd.DataFrame) -> pd.DataFrame:
    """The errors of one fit on one test set, a row each: error, document, and gold and found as (start, end, label).

    `rows` are its predictions, as 03_finetune keeps them. A gold and a predicted entity make one error, not two; of
    several that overlap, those that share most characters.
    """
    gold, predicted = (rows[rows["kind"] == kind] for kind in ("gold", "predicted"))
    sides = (side[~side["hit"]].groupby("document") for side in scores.match(gold=gold, predicted=predicted))
    alone = [{name: [*zip(*(g[c] for c in ("start", "end", "label")), strict=True)] for name, g in s} for s in sides]
    found = [
        {"error": _kind(one, other), "document": document, "gold": one, "found": other}
        for document in sorted({*alone[0], *alone[1]})
        for one, other in _paired(alone[0].get(document, []), alone[1].get(document, []))
    ]
    return pd.DataFrame(found, columns=["error", "document", "gold", "found"])


def _paired(gold: list[tuple], predicted: list[tuple]) -> Iterator[tuple[tuple | None, tuple | None]]:
    """Gold and predicted entities that overlap most, each once, then what is left of either, beside None."""
    shared = {(one, other): min(one[1], other[1]) - max(one[0], other[0]) for one in gold for other in predicted}
    left, right = list(gold), list(predicted)
    for (one, other), characters in sorted(shared.items(), key=lambda item: (-item[1], item[0])):
        if characters > 0 and one in left and other in right:
            left.remove(one)
            right.remove(other)
            yield one, other
    yield from ((one, None) for one in left)
    yield from ((None, other) for other in right)


def _kind(gold: tuple | None, found: tuple | None) -> str:
    if gold is None or found is None:
        return "false" if gold is None else "missed"
    wrong = ["type"] * (gold[2] != found[2]) + ["boundary"] * (gold[:2] != found[:2])
    return " and ".join(wrong)


def counted(rows: pd.DataFrame) -> pd.DataFrame:
    """Errors on one test set by arm and kind, a mean over seeds; of patients how many are missed or wrongly flagged."""
    if "patient" in rows:
        found = _wrong(rows)[["arm", "error"]]
    else:
        fits = rows.groupby(["arm", "seed"], sort=False)
        found = pd.concat([kinds(of_fit).assign(arm=arm) for (arm, _), of_fit in fits], ignore_index=True)
    seeds = rows.groupby("arm", sort=False)["seed"].nunique()
    kinds_here = KINDS[-2:] if "patient" in rows else KINDS
    table = pd.crosstab(found["arm"], found["error"]).reindex(index=seeds.index, columns=kinds_here, fill_value=0)
    return table.div(seeds, axis=0).round(1)


def shown(rows: pd.DataFrame, items: Iterable[Any]) -> pd.DataFrame:
    """Some errors of one fit with their text as HTML, two of a kind: the gold entity marked, the found underlined.

    `items` are the test set's documents or patients; of a patient the newest note is shown.
    """
    by: Mapping[str, Any] = {item.id: item for item in items}
    if "patient" in rows:
        wrong = _wrong(rows).groupby("error").head(EACH)
        texts = {"patient": map(escape, wrong["patient"]), "newest note": [_note(by[p]) for p in wrong["patient"]]}
        found = wrong[["error", "patient", "probability"]].round({"probability": 3})
        return found.assign(**{name: [*text] for name, text in texts.items()})
    some = kinds(rows).groupby("error", sort=False).head(EACH)
    some = some.sort_values("error", key=lambda error: error.map(KINDS.index), kind="stable")
    labels = {side: [escape(entity[2]) if entity else "" for entity in some[side]] for side in ("gold", "found")}
    text = [_context(by[row.document], row.gold, row.found) for row in some.itertuples()]
    return some[["error", "document"]].assign(document=[*map(escape, some["document"])], **labels, text=text)


def _wrong(rows: pd.DataFrame) -> pd.DataFrame:
    """The test patients who are wrongly flagged or missed, and which."""
    wrong = rows[(rows["split"] == "test") & (rows["label"] != rows["flagged"])]
    return wrong.assign(error=wrong["label"].map({1: "missed", 0: "false"}))


def _note(patient: Patient) -> str:
    text = patient.notes[-1].text
    return escape(text[:NOTE]) + ("…" if len(text) > NOTE else "")


def _context(document: Document, gold: tuple | None, found: tuple | None) -> str:
    """The text around an error."""
    ends = [place for entity in (gold, found) if entity for place in entity[:2]]
    first, last = max(min(ends) - AROUND, 0), min(max(ends) + AROUND, len(document.text))
    html = "…" * (first > 0)
    for start, end in pairwise(sorted({first, last, *ends})):
        piece = escape(document.text[start:end])
        for entity, tag in ((found, "u"), (gold, "mark")):
            if entity and entity[0] <= start < entity[1]:
                piece = f"<{tag}>{piece}</{tag}>"
        html += piece
    return html + "…" * (last < len(document.text))
