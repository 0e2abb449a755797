"""Label budgets: nested samples, saved labels by hand, and curves on made predictions."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t
from test_claims import write_ner

from evidence import bootstrap, budgets, sentences, tables
from evidence.bootstrap import Spread
from helpers import finetuning
from texts.documents import Document, write_jsonl


@given(st.integers(1, 60), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 9))
def test_a_smaller_share_is_part_of_a_larger_one(count, one, other, seed):
    items = [object() for _ in range(count)]
    small, large = (finetuning.nested_sample(items, share, seed) for share in sorted((one, other)))
    assert set(map(id, small)) <= set(map(id, large))
    assert len(small) == max(1, round(min(one, other) * count))
    assert [items.index(item) for item in large] == sorted(items.index(item) for item in large)
    assert finetuning.nested_sample(items, 1.0, seed) == items


def test_other_seeds_take_other_samples_and_few_items_are_read_more_often():
    assert finetuning.nested_sample(range(100), 0.1, 1) != finetuning.nested_sample(range(100), 0.1, 2)
    assert [finetuning.passes(3, share) for share in (1.0, 0.5, 0.3, 0.1)] == [3, 6, 10, 12]


def test_saved_labels_by_hand():
    items = [10, 100, 1000]
    low, high = np.array([0.1, 0.2, 0.4]), np.array([0.3, 0.4, 0.5])
    assert budgets.saved(high, low, items) == (pytest.approx(900), False)  # 0.4 is reached with 100
    assert budgets.saved(low, high, items) == (pytest.approx(-900), False)  # and the other way round
    halfway = 1000 - np.exp((np.log(100) + np.log(1000)) / 2)
    assert budgets.saved(np.array([0.1, 0.3, 0.5]), low, items) == (pytest.approx(halfway), False)
    assert budgets.saved(np.array([0.6, 0.6, 0.7]), low, items) == (pytest.approx(990), True)
    assert budgets.saved(low, low, items) == (pytest.approx(0), False)
    assert np.isnan(budgets.saved(np.full(3, np.nan), low, items)[0])
    assert np.isnan(budgets.saved(np.array([np.nan, 0.2, 0.4]), low, items)[0]), "at one point"
    level = np.array([0.5, 0.6, 0.6])  # reached with 100 already
    assert budgets.saved(level, np.array([0.4, 0.5, 0.6]), items) == (pytest.approx(900), False)
    flat = np.array([0.2, 0.2, 0.1])  # which reaches all it will with the fewest
    assert budgets.saved(flat, flat, items) == (0, True), "both with the fewest: anything is possible"
    assert budgets.saved(np.array([0.6, 0.6, 0.7]), np.full(3, 0.5), items) == (0, True)
    needed = np.exp(np.interp(0.2, [0.1, 0.3], np.log([10, 100])))
    assert budgets.saved(np.array([0.1, 0.3, 0.3]), flat, items) == (pytest.approx(10 - needed), True), "at least"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=5))
def test_saved_labels_are_within_what_was_tried_and_change_sign_with_the_sides(scores):
    one, other = np.array(scores).T
    items = [10 * 3**n for n in range(len(scores))]
    number, _ = budgets.saved(one, other, items)
    assert abs(number) <= items[-1] - items[0] + 1e-6
    if one[-1] != other[-1]:
        assert budgets.saved(other, one, items)[0] == pytest.approx(-number)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run whose `good` arm learns with half the documents what `poor` learns with all of them."""
    folder = tmp_path_factory.mktemp("run")
    spec = {"name": "ro", "kind": "ner", "language": "ro", "common": {}, "labels": ["X"]}
    write_jsonl(folder / "corpora/tasks/ro/train.jsonl", [Document(str(i), "ro", "x") for i in range(200)])
    (folder / "corpora/tasks.json").write_text(json.dumps([spec]))
    for share, right in ((1.0, (0.8, 0.6)), (0.5, (0.6, 0.4)), (0.25, (0.4, 0.2))):
        place = tables.predictions(folder, "ro", share)
        for arm, found in zip(("good", "poor"), right, strict=True):
            write_ner(folder / f"made-{share}", arm, found)
        shutil.copytree(folder / f"made-{share}" / "ro", place, dirs_exist_ok=True)
        table = pd.DataFrame([(arm, seed) for arm in ("good", "poor") for seed in (1, 2, 3)], columns=["arm", "seed"])
        table.to_csv(place / "fits.csv", index=False)
    return folder


def test_curves_and_worth_of_made_predictions(folder):
    wanted = [{"task": "ro", "shares": [0.5, 0.25], "arms": ["good", "poor"]}]
    points, worth = budgets.measure(
        folder, wanted, control="poor", copies={}, together={}, draws=300, confidence=0.95, seed=3
    )
    assert points["items"].tolist() == [50, 100, 200] * 2
    f1 = {right: 2 * right / (1 + right) for right in (0.2, 0.4, 0.6, 0.8)}
    expected = [f1[r] for r in (0.4, 0.6, 0.8, 0.2, 0.4, 0.6)]
    assert points["score"].to_numpy() == pytest.approx(expected, abs=0.03)
    assert ((points["low"] < points["score"]) & (points["score"] < points["high"])).all()
    row = worth.iloc[0]
    assert (row["arm"], row["control"], row["items"], row["bounded"]) == ("good", "poor", 200, False)
    assert row["saved"] == pytest.approx(100, abs=15)
    assert row["low"] < row["saved"] < row["high"]


def test_copies_of_an_arm_are_drawn_and_not_the_seeds_that_share_them(folder, monkeypatch):
    """Seeds 1 and 3 share the first of two copies: what is drawn is two scores an arm."""
    pooled, drawn = bootstrap.pooled, []
    monkeypatch.setattr(bootstrap, "pooled", lambda fits: drawn.append([f.shape[1] for f in fits]) or pooled(fits))
    how = {"together": {}, "draws": 300, "confidence": 0.95, "seed": 3}
    alone, each, shared = (
        budgets.curve(folder, "ro", ["good", "poor"], [0.5], copies=dict.fromkeys(["good", "poor"], copies), **how)[0]
        for copies in (1, 3, 2)
    )
    pd.testing.assert_frame_equal(alone, each)
    assert [sizes for sizes in drawn if sizes] == [[3, 3]] * 4 + [[2, 2]] * 2, "each at two points"
    assert (shared["seeds"] == 3).all()
    assert not np.allclose(shared["high"] - shared["low"], alone["high"] - alone["low"], rtol=0.01)


def test_without_the_control_or_without_budgets_there_is_no_worth(folder):
    wanted = [{"task": "ro", "shares": [0.5], "arms": ["good"]}]
    points, worth = budgets.measure(
        folder, wanted, control="poor", copies={}, together={}, draws=100, confidence=0.95, seed=3
    )
    assert (len(points), len(worth)) == (2, 0)
    nothing = budgets.measure(folder, [], control="poor", copies={}, together={}, draws=100, confidence=0.95, seed=3)
    assert [list(table) for table in nothing] == [budgets.COLUMNS, budgets.WORTH]


def test_the_mean_of_few_seeds_varies_by_students_law():
    """With the spread that arms have in common: two seeds alone, drawn with replacement, would take three values."""
    values, spread = np.full((40_001, 2), 0.5), Spread(seeds=0.02, both=0.0, freedom=6)
    drawn = budgets._over_seeds(values, spread, "a", 1)
    assert drawn[0] == 0.5
    ends = 0.5 + t.ppf([0.025, 0.975], 6) * np.sqrt(0.02 / 2)
    assert np.quantile(drawn[1:], [0.025, 0.975]) == pytest.approx(ends, abs=0.01)
    assert not np.allclose(budgets._over_seeds(values, spread, "b", 1), drawn), "points vary apart"
    assert (budgets._over_seeds(values[:, :1], spread, "a", 1) == 0.5).all(), "a rule has no seeds"


@pytest.mark.parametrize(
    ("found", "ends"),
    [
        ([(5, 0), (6, 0), (7, 0)], (5, 7)),
        ([(5, 0), (6, 0), (28, 1)], (5, np.inf)),  # at least 28: more cannot be seen
        ([(28, 1)] * 3, (28, np.inf)),
        ([(-28, 1), (0, 0), (np.nan, 0)], (-np.inf, 0)),
        ([(0, 1)] * 3, (-np.inf, np.inf)),  # the fewest labels were enough for both
        ([(0, 0)] * 3, (0, 0)),
    ],
)
def test_an_interval_has_no_end_where_draws_are_bounds(found, ends):
    assert budgets._interval(np.array(found, float), 0.95) == ends


def test_an_interval_without_an_end_is_said_so():
    row = {"task": "t", "arm": "clinical", "control": "general", "items": 40, "saved": 28.0, "bounded": True}
    said = [
        sentences.worth(pd.DataFrame([row | {"low": low, "high": high}]))
        for low, high in ((5, 9), (5, np.inf), (-np.inf, 3), (-np.inf, np.inf), (4, 4))
    ]
    told = [one.partition("text (")[2].partition(";")[0] for one in said]
    assert told[:3] == ["interval +5 to +9", "interval from +5 up", "interval up to +3"]
    assert [one.count("interval") for one in said] == [1, 1, 1, 0, 0]
    assert ["at least 28" in one for one in said] == [True, True, False, False, True]
    assert "is not shown to save any: +28 of 40" in said[3]
    unknown = sentences.worth(pd.DataFrame([row | {"saved": 0.0, "low": -np.inf, "high": np.inf}]))
    told = "reach the control's score with the fewest labels tried: what adaptation saves cannot be told."
    assert unknown == f"On t both arms, clinical and general, {told}"
