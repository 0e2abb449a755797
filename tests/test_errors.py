"""Kinds of error, by hand; their table and their text."""

import pandas as pd

from helpers import errors
from texts.documents import Document, Note, Patient, Span

TEXT = "Dolor <leve> en brazo y pierna, sin fiebre."


def rows(gold, predicted, arm="a", seed=1):
    """Predictions of one fit on one test set as 03_finetune keeps them."""
    found = [(d, *span, kind) for kind, side in (("gold", gold), ("predicted", predicted)) for d, span in side]
    table = pd.DataFrame(found, columns=["document", "start", "end", "label", "kind"])
    return table.assign(task="t", test="t", language="es", arm=arm, seed=seed)


def told(gold, predicted):
    """(kind, gold, found) of every error of one document."""
    table = errors.kinds(rows([("d", s) for s in gold], [("d", s) for s in predicted]))
    return list(zip(table["error"], table["gold"], table["found"], strict=True))


def test_every_kind_by_hand():
    gold = [(0, 5, "S"), (16, 21, "A"), (24, 30, "A"), (36, 42, "S"), (50, 60, "S")]
    predicted = [(0, 12, "S"), (16, 21, "S"), (22, 30, "S"), (36, 42, "S"), (70, 75, "S")]
    assert sorted(told(gold, predicted)) == sorted(
        [
            ("boundary", (0, 5, "S"), (0, 12, "S")),
            ("type", (16, 21, "A"), (16, 21, "S")),
            ("type and boundary", (24, 30, "A"), (22, 30, "S")),
            ("missed", (50, 60, "S"), None),
            ("false", None, (70, 75, "S")),
        ]
    )


def test_one_prediction_over_two_entities_is_one_boundary_and_one_missed():
    assert told([(0, 5, "S"), (6, 20, "S")], [(0, 20, "S")]) == [
        ("boundary", (6, 20, "S"), (0, 20, "S")),
        ("missed", (0, 5, "S"), None),
    ]


def test_what_touches_does_not_overlap_and_what_is_found_is_no_error():
    assert told([(0, 5, "S")], [(5, 9, "S")]) == [("missed", (0, 5, "S"), None), ("false", None, (5, 9, "S"))]
    assert told([(0, 5, "S")], [(0, 5, "S")]) == []
    assert told([], []) == []


def test_errors_are_a_mean_over_seeds_and_an_arm_without_any_stays():
    one = rows([("d", (0, 5, "S")), ("e", (0, 5, "S"))], [("d", (0, 5, "S"))])
    two = rows([("d", (0, 5, "S")), ("e", (0, 5, "S"))], [("e", (0, 4, "S"))], seed=2)
    good = rows([("d", (0, 5, "S"))], [("d", (0, 5, "S"))], arm="b")
    table, none = errors.counted(pd.concat([one, two, good])), dict.fromkeys(errors.KINDS, 0)
    assert table.to_dict("index") == {
        "a": none | {"boundary": 0.5, "missed": 1.0},
        "b": none,
    }


def test_the_text_around_an_error_is_marked_and_harmless():
    table = errors.shown(rows([("d", (0, 5, "S"))], [("d", (0, 12, "S"))]), [Document("d", "es", TEXT)])
    (row,) = table.to_dict("records")
    assert (row["error"], row["gold"], row["found"]) == ("boundary", "S", "S")
    assert row["text"] == "<mark><u>Dolor</u></mark><u> &lt;leve&gt;</u> en brazo y pierna, sin fiebre."
    far = Document("d", "es", "x" * 100 + TEXT, (Span(100, 105, "S"),))
    missed = errors.shown(rows([("d", (100, 105, "S"))], []), [far])["text"].item()
    assert missed.startswith("…" + "x" * 40 + "<mark>Dolor</mark> ") and not missed.endswith("…")


def test_patients_are_told_with_their_newest_note():
    table = pd.DataFrame(
        [("test", "p", 1, 0, 0.2), ("test", "q", 0, 1, 0.9), ("test", "r", 1, 1, 0.9), ("dev", "s", 1, 0, 0.1)],
        columns=["split", "patient", "label", "flagged", "probability"],
    ).assign(arm="a", seed=1)
    assert errors.counted(table).to_dict("index") == {"a": {"missed": 1.0, "false": 1.0}}
    people = [Patient(p, "nl", 1, (Note("2020-01-01", "oud"), Note("2021-01-01", f"<{p}>"))) for p in "pqr"]
    shown = errors.shown(table, people)
    assert shown["newest note"].tolist() == ["&lt;p&gt;", "&lt;q&gt;"]
    assert shown["error"].tolist() == ["missed", "false"]


def test_ids_and_labels_are_harmless_too():
    odd = Document("<b>x</b>", "es", TEXT)
    row = errors.shown(rows([("<b>x</b>", (0, 5, "<i>"))], []), [odd]).iloc[0]
    assert (row["document"], row["gold"]) == ("&lt;b&gt;x&lt;/b&gt;", "&lt;i&gt;")
