"""Scores against perfect, empty and worked cases, and against scikit-learn, seqeval and nervaluate."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nervaluate import Evaluator
from scipy.optimize import minimize
from seqeval.metrics import f1_score as seqeval_f1_score
from seqeval.scheme import IOB2
from sklearn import metrics as sk

from common.project import Mistake
from evidence import scores

SPANS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("XY"), st.integers(0, 5), st.integers(1, 3)), max_size=12
)


def items(*rows):
    """A frame of items from (document, label, start, end)."""
    return pd.DataFrame(rows, columns=scores.SPAN)


def values(gold, predicted):
    """(label, metric) -> value of the strict scores."""
    table = scores.strict_scores(gold=gold, predicted=predicted)
    return table.set_index(["label", "metric"])["value"].to_dict()


GOLD = items(("a", "X", 0, 3), ("a", "Y", 4, 9), ("b", "X", 0, 3), ("b", "X", 1, 3))


def test_perfect_prediction_scores_one():
    found = values(GOLD, GOLD)
    assert [found["all", m] for m in ("precision", "recall", "f1", "tp")] == [1, 1, 1, 4]


def test_no_prediction_scores_zero():
    found = values(GOLD, items())
    assert [found["all", m] for m in ("precision", "recall", "f1", "fn")] == [0, 0, 0, 4]


def test_worked_case():
    # One hit, one wrong label, one wrong end given twice, one hit given twice: 2 right of 4 different ones; 4 gold.
    wrong, right = [("b", "X", 0, 4)] * 2, [("b", "X", 1, 3)] * 2
    predicted = items(("a", "X", 0, 3), ("a", "X", 4, 9), *wrong, *right)
    found = values(GOLD, predicted)
    assert [found["all", m] for m in ("tp", "fp", "fn")] == [2, 2, 2]
    assert found["X", "precision"] == pytest.approx(2 / 4)
    assert found["X", "recall"] == pytest.approx(2 / 3)
    assert found["X", "f1"] == pytest.approx(4 / 7)
    assert (found["Y", "f1"], found["Y", "fn"]) == (0, 1)


def test_one_prediction_hits_one_of_two_equal_gold_items():
    gold = items(("a", "X", 0, 3), ("a", "X", 0, 3))
    found = values(gold, items(("a", "X", 0, 3)))
    assert (found["all", "tp"], found["all", "fn"], found["all", "fp"]) == (1, 1, 0)


def test_nothing_at_all_is_nan_and_no_gold_is_zero():
    assert np.isnan(scores.precision_recall_f1(0, 0, 0)).all()
    assert np.isnan(scores.partial_f1(gold=items(), predicted=items()))
    assert np.isnan(scores.seqeval_f1(gold=items(), predicted=items(), words={}))
    np.testing.assert_array_equal(scores.precision_recall_f1([0], [2], [0]), [[0], [0], [0]])


@settings(max_examples=40)
@given(SPANS, SPANS)
def test_strict_counts_equal_set_arithmetic_and_sklearn(gold, predicted):
    gold, predicted = ([(d, lab, s, s + n) for d, lab, s, n in sorted(set(side))] for side in (gold, predicted))
    table = scores.counts(gold=items(*gold), predicted=items(*predicted))
    for document in "ab":
        ours, theirs = ({i for i in side if i[0] == document} for side in (gold, predicted))
        expected = (len(ours & theirs), len(theirs - ours), len(ours - theirs))
        found = tuple(table.loc[document]) if document in table.index else (0, 0, 0)
        assert found == expected
    every = sorted(set(gold) | set(predicted))
    if every:
        y = [[int(i in side) for i in every] for side in (gold, predicted)]
        reference = sk.precision_recall_fscore_support(*y, average="binary", zero_division=0)[:3]
        np.testing.assert_allclose(scores.precision_recall_f1(*table.sum()), reference)


@settings(max_examples=30)
@given(SPANS, SPANS)
def test_strict_equals_nervaluate_without_overlaps(gold, predicted):
    # nervaluate matches overlapping items in another order, so the items stand apart here.
    gold, predicted = (
        sorted({(d, lab, 10 * s, 10 * s + n) for d, lab, s, n in side}, key=lambda i: (i[0], i[2]))
        for side in (gold, predicted)
    )
    gold, predicted = (
        [i for k, i in enumerate(side) if not k or i[:3:2] != side[k - 1][:3:2]] for side in (gold, predicted)
    )
    if gold or predicted:
        sides = [
            [[dict(label=i[1], start=i[2], end=i[3] - 1) for i in side if i[0] == d] for d in "ab"]
            for side in (gold, predicted)
        ]
        reference = Evaluator(*sides, tags=["X", "Y"], loader="dict").evaluate()["overall"]["strict"]
        assert values(items(*gold), items(*predicted))["all", "f1"] == pytest.approx(reference.f1)


def test_partial_f1_anchors():
    assert scores.partial_f1(gold=GOLD, predicted=GOLD) == 1
    assert scores.partial_f1(gold=GOLD, predicted=items()) == 0
    assert scores.partial_f1(gold=GOLD, predicted=pd.concat([GOLD, GOLD])) == 1, "what is said twice counts once"
    # One exact, one half: 1.5 of 2 on both sides. A touching neighbour is no overlap: ends are exclusive.
    gold = items(("a", "X", 0, 3), ("a", "X", 10, 14))
    assert scores.partial_f1(gold=gold, predicted=items(("a", "Y", 0, 3), ("a", "X", 12, 20))) == pytest.approx(0.75)
    assert scores.partial_f1(gold=items(("a", "X", 0, 3)), predicted=items(("a", "X", 3, 5))) == 0


def test_seqeval_f1_anchors():
    words = {"a": [(0, 2), (3, 5), (6, 9), (9, 10)]}
    gold = items(("a", "X", 0, 5), ("a", "Y", 6, 9))
    assert scores.seqeval_f1(gold=gold, predicted=gold, words=words) == 1
    assert scores.seqeval_f1(gold=gold, predicted=items(), words=words) == 0
    # Y is right, X is cut: one hit of two on both sides.
    cut = items(("a", "X", 0, 2), ("a", "Y", 6, 9))
    assert scores.seqeval_f1(gold=gold, predicted=cut, words=words) == pytest.approx(0.5)
    # Two neighbours of one label are two entities, not one.
    two = items(("a", "X", 0, 2), ("a", "X", 3, 5))
    assert scores.seqeval_f1(gold=two, predicted=gold.head(1), words=words) == 0
    with pytest.raises(Mistake, match="document 'b' is missing"):
        scores.seqeval_f1(gold=GOLD, predicted=cut, words=words)


ALIGNED = st.sets(
    st.tuples(st.sampled_from("ab"), st.sampled_from("XY"), st.integers(0, 7), st.integers(1, 2)), max_size=6
)


def apart(spans):
    """Items on whole words, none of which overlaps another: two words of five characters at even places."""
    first = {(document, word): (label, count) for document, label, word, count in sorted(spans)}
    return [(d, label, 20 * w, 20 * w + (5 if count == 1 else 15)) for (d, w), (label, count) in first.items()]


@settings(max_examples=60)
@given(ALIGNED, ALIGNED)
def test_seqeval_equals_strict_spans_where_nothing_overlaps(gold, predicted):
    gold, predicted = apart(gold), apart(predicted)
    words = {d: [(10 * i, 10 * i + 5) for i in range(16)] for d in "ab"}
    if gold or predicted:
        found = scores.seqeval_f1(gold=items(*gold), predicted=items(*predicted), words=words)
        expected = 2 * len(set(gold) & set(predicted)) / (len(gold) + len(predicted))
        assert found == pytest.approx(expected)


ANY = st.sets(
    st.tuples(st.sampled_from("ab"), st.sampled_from("XY"), st.integers(0, 50), st.integers(1, 30)), max_size=8
)


@settings(max_examples=60)
@given(ANY, ANY)
def test_seqeval_is_the_same_on_all_words_as_on_those_inside_an_entity(gold, predicted):
    gold, predicted = (
        items(*[(d, label, start, start + length) for d, label, start, length in side]) for side in (gold, predicted)
    )
    words = {d: [(5 * i, 5 * i + 4) for i in range(18)] for d in "ab"}
    whole = [scores._tagged(side, words) for side in (gold, predicted)]
    if gold.size or predicted.size:
        expected = seqeval_f1_score(*whole, mode="strict", scheme=IOB2, zero_division=0)
        assert scores.seqeval_f1(gold=gold, predicted=predicted, words=words) == pytest.approx(expected)


@settings(max_examples=60)
@given(ALIGNED, ALIGNED)
def test_partial_counts_an_overlap_half(gold, predicted):
    gold, predicted = apart(gold), apart(predicted)
    if gold or predicted:
        places = {(d, start): end for d, _, start, end in gold}
        hits = [places[d, start] == end for d, _, start, end in predicted if (d, start) in places]
        expected = 2 * (sum(hits) + 0.5 * hits.count(False)) / (len(gold) + len(predicted))
        assert scores.partial_f1(gold=items(*gold), predicted=items(*predicted)) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0.01, 0.99), st.integers(0, 1)), min_size=2, max_size=40))
def test_screening_scores_equal_sklearn(patients):
    gold, probability, flagged = map(np.array, zip(*patients, strict=True))
    found = scores.screening_scores(gold=gold, scores=probability, probability=probability, flagged=flagged)
    if 0 < gold.mean() < 1:
        assert found["auprc"] == pytest.approx(sk.average_precision_score(gold, probability))
        assert found["auroc"] == pytest.approx(sk.roc_auc_score(gold, probability))
    else:
        assert np.isnan(found["auprc"]) and np.isnan(found["auroc"])
    assert found["brier"] == pytest.approx(np.mean((probability - gold) ** 2))
    assert found["prevalence"] == gold.mean()
    if gold.any() or flagged.any():
        assert found["f1"] == pytest.approx(sk.f1_score(gold, flagged, zero_division=0))


@given(st.lists(st.tuples(*[st.integers(0, 1)] * 3), min_size=1, max_size=60))
def test_mcnemar_is_the_sum_of_binomial_terms(patients):
    gold, one, other = zip(*patients, strict=True)
    b, c, p = scores.mcnemar(gold=gold, one=one, other=other)
    assert b == sum(g == x != y for g, x, y in patients) and c == sum(g == y != x for g, x, y in patients)
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert p == pytest.approx(min(1.0, 2 * tail))


def test_confusions_by_hand():
    rows = [
        ("s", "x", seed, split, label, flag)
        for seed, split, label, flag in (
            (1, "test", 1, 1),
            (1, "test", 0, 1),
            (1, "test", 0, 0),
            (1, "dev", 1, 0),
            (2, "test", 1, 0),
            (2, "test", 0, 0),
            (2, "test", 0, 0),
        )
    ]
    table = scores.confusions(pd.DataFrame(rows, columns=["task", "arm", "seed", "split", "label", "flagged"]))
    assert table.iloc[0].tolist() == ["s", "x", 0.5, 0.5, 0.5, 1.5]


def test_ranking_metrics_anchors():
    gold = np.array([1, 0, 1, 0, 0])
    perfect = scores.screening_scores(gold=gold, scores=gold, probability=gold, flagged=gold)
    assert [perfect[m] for m in ("auprc", "auroc", "brier", "calibration_error", "f1")] == [1, 1, 0, 0, 1]
    none = scores.screening_scores(gold=gold, scores=0 * gold, probability=0 * gold + 0.4, flagged=0 * gold)
    assert (none["auprc"], none["auroc"], none["recall"], none["precision"]) == (0.4, 0.5, 0, 0)
    assert none["calibration_error"] == pytest.approx(0)
    # Ranks of the positives are 1 and 3: precision 1/1 and 2/3, each half of the recall.
    worked = scores.screening_scores(
        gold=gold, scores=[5, 4, 3, 2, 1], probability=[0.9, 0.6, 0.5, 0.2, 0.1], flagged=[1, 1, 0, 0, 0]
    )
    assert worked["auprc"] == pytest.approx((1 + 2 / 3) / 2)
    assert worked["auroc"] == pytest.approx(5 / 6)
    assert worked["brier"] == pytest.approx((0.01 + 0.36 + 0.25 + 0.04 + 0.01) / 5)
    assert (worked["precision"], worked["recall"], worked["prevalence"]) == (0.5, 0.5, 0.4)
    assert (worked["recall_at_precision_0.50"], worked["recall_at_precision_0.80"]) == (1, 0.5)
    assert scores.recall_at_precision(gold=[1, 0, 1], scores=[3, 2, 1], precision=2 / 3) == 1, "reached exactly"


def test_undefined_screening_metrics_are_nan():
    found = scores.screening_scores(gold=[0, 0], scores=[1, 2], probability=[np.nan, 0.5], flagged=[0, 0])
    assert all(np.isnan(found[m]) for m in ("auprc", "auroc", "brier", "calibration_error", "f1"))


def test_recall_at_precision_is_zero_where_no_threshold_reaches_it():
    assert scores.recall_at_precision(gold=[0, 1, 0], scores=[3, 2, 1], precision=0.9) == 0


def test_calibration_error_against_a_loop():
    generator = np.random.default_rng(3)
    p, gold = generator.random(300), generator.integers(0, 2, 300)
    p[:2] = [0, 1]
    expected = 0.0
    for low in range(10):
        inside = (p * 10 >= low) & ((p * 10 < low + 1) | (low == 9))
        if inside.any():
            expected += inside.mean() * abs(gold[inside].mean() - p[inside].mean())
    assert scores.calibration_error(gold=gold, probability=p) == pytest.approx(expected)


def test_calibration_finds_the_slope_and_intercept_that_were_put_in():
    generator = np.random.default_rng(5)
    logits = generator.normal(0, 2, 20000)
    gold = generator.random(20000) < 1 / (1 + np.exp(-logits))
    slope, intercept = scores.calibration(gold=gold, logits=3 * logits + 2)
    assert (slope, intercept) == (pytest.approx(1 / 3, rel=0.05), pytest.approx(-2 / 3, abs=0.05))
    before, after = (
        scores.calibrated(logits=3 * logits + 2, slope=a, intercept=b) for a, b in ((1, 0), (slope, intercept))
    )
    assert sk.log_loss(gold, after) < sk.log_loss(gold, before)
    assert scores.calibration_error(gold=gold, probability=after) < 0.02


def test_calibration_of_few_that_lie_apart_is_not_certain():
    """Against Platt's own minimisation of the cross-entropy to his targets."""
    logits, gold = np.linspace(-3, 1, 24), np.array([0] * 20 + [1] * 4)
    targets = np.where(gold == 1, 5 / 6, 1 / 22)
    p = lambda ends: 1 / (1 + np.exp(-(ends[0] * logits + ends[1])))  # noqa: E731
    loss = lambda ends: -np.sum(targets * np.log(p(ends)) + (1 - targets) * np.log(1 - p(ends)))  # noqa: E731
    found = scores.calibration(gold=gold, logits=logits)
    assert found == pytest.approx(minimize(loss, [1.0, 0.0], method="BFGS").x, rel=1e-3)
    assert p(found).max() < 5 / 6


def test_no_probability_where_scores_do_not_rise_with_the_condition():
    slope, intercept = scores.calibration(gold=[1, 0, 0, 0], logits=[-2.0, -1.0, 0.0, 1.0])
    assert slope < 0
    assert np.isnan(scores.calibrated(logits=[1.0, 2.0], slope=slope, intercept=intercept)).all()


@pytest.mark.parametrize("width", [1e-4, 1.0, 1e4])
def test_calibration_does_not_depend_on_the_unit_of_the_logits(width):
    generator = np.random.default_rng(5)
    logits = generator.normal(0, 1, 2000)
    gold = generator.random(2000) < 1 / (1 + np.exp(-logits))
    slope, intercept = scores.calibration(gold=gold, logits=logits)
    assert scores.calibration(gold=gold, logits=width * logits - 1.5) == (
        pytest.approx(slope / width, rel=1e-3),
        pytest.approx(intercept + 1.5 * slope / width, rel=1e-3),
    )
    assert scores.calibration(gold=[0, 0, 0, 1] * 25, logits=[0.1] * 100) == (
        pytest.approx(0, abs=1e-6),
        pytest.approx(np.log((25 * 26 / 27 + 75 / 77) / (25 / 27 + 75 * 76 / 77)), rel=1e-3),
    )


def test_best_threshold_against_trying_all():
    generator = np.random.default_rng(7)
    for _ in range(20):
        gold, score = generator.integers(0, 2, 30), generator.integers(0, 8, 30)
        gold[0] = 1
        f1 = {t: sk.f1_score(gold, score >= t) for t in set(score)}
        best = max(t for t in f1 if f1[t] >= max(f1.values()) - 1e-9)
        assert scores.best_threshold(gold=gold, scores=score) == best
    # Flagging one or all four has F1 2/3: the higher threshold is taken.
    assert scores.best_threshold(gold=[1, 0, 0, 1], scores=[4, 3, 2, 1]) == 4
    with pytest.raises(Mistake, match="no positive patient"):
        scores.best_threshold(gold=[0, 0], scores=[1, 2])


def ner_file(tmp_path):
    """A file of one fit with an in-task and a zero-shot test."""
    rows = [
        ("ro", "ro", "d1", 0, 3, "DISO", "abc", "gold"),
        ("ro", "ro", "d1", 0, 3, "DISO", "abc", "predicted"),
        ("ro", "ro", "d2", 5, 9, "CHEM", "abcd", "gold"),
        ("es", "es", "d1", 0, 3, "DISEASE", "abc", "gold"),
        ("es", "es", "d1", 0, 3, "DISO", "abc", "predicted"),
        ("es", "es", "d1", 4, 6, "PROTEIN", "de", "gold"),
        ("es", "es", "d1", 7, 9, "CHEM", "fg", "predicted"),
    ]
    columns = ["test", "language", "document", "start", "end", "label", "text", "kind"]
    frame = pd.DataFrame(rows, columns=columns).assign(task="ro", arm="base", seed=1)
    path = tmp_path / "seed-1.parquet"
    frame.to_parquet(path)
    return path


def test_score_file_keeps_own_labels_in_task_and_shared_ones_elsewhere(tmp_path):
    common = {"ro": {"DISO": "disorder", "CHEM": "chemical"}, "es": {"DISEASE": "disorder", "PROTEIN": "protein"}}
    table = scores.score_file(ner_file(tmp_path), common, {"d1": [(0, 3)], "d2": [(5, 9)]})
    assert list(table) == scores.COLUMNS
    found = table.set_index(["test", "label", "metric"])["value"]
    assert found["ro", "all", "f1"] == pytest.approx(2 / 3)
    assert found["ro", "CHEM", "recall"] == 0
    # PROTEIN and CHEM have no partner on the other side, so only the disorder is scored.
    assert found["es", "all", "f1"] == found["es", "disorder", "f1"] == 1
    assert found["es", "all", "fn"] == 0
    assert found["ro", "all", "partial_f1"] == found["ro", "all", "seqeval_f1"] == pytest.approx(2 / 3)
    assert not {("es", "all", "seqeval_f1"), ("es", "all", "partial_f1")} & set(found.index)


def test_two_labels_of_one_text_that_become_the_same_are_one(tmp_path):
    rows = [("d1", 0, 3, "BRAND", "gold"), ("d1", 0, 3, "DRUG", "gold"), ("d1", 0, 3, "DISO", "predicted")]
    frame = pd.DataFrame(rows, columns=["document", "start", "end", "label", "kind"])
    frame = frame.assign(test="es", language="es", text="abc", task="ro", arm="base", seed=1)
    common = {"ro": {"DISO": "x"}, "es": {"BRAND": "x", "DRUG": "x"}}
    found = scores.to_common(frame, common)
    assert found["kind"].tolist() == ["gold", "predicted"]
    assert len(scores.to_common(pd.concat([frame, frame.assign(seed=2)]), common)) == 4


def test_score_file_mistakes_name_the_place(tmp_path):
    path = ner_file(tmp_path)
    with pytest.raises(Mistake, match="'ro' and 'es' share no label"):
        scores.score_file(path, {"ro": {"DISO": "disorder"}})
    with pytest.raises(Mistake, match="absent.parquet: no readable predictions"):
        scores.score_file(tmp_path / "absent.parquet", {})
    pd.read_parquet(path).drop(columns="start").to_parquet(path)
    with pytest.raises(Mistake, match="column 'start' is missing"):
        scores.score_file(path, {})


def test_score_screening_file_scores_each_split(tmp_path):
    frame = pd.DataFrame({"split": ["dev"] * 3 + ["test"] * 3, "label": [1, 0, 0] * 2, "score": [3, 2, 1, 1, 2, 3]})
    frame = frame.assign(task="s", arm="base", seed=1, language="nl", patient=list("abcdef"))
    frame = frame.assign(probability=0.5, flagged=[1, 0, 0, 0, 0, 1])
    frame.to_parquet(tmp_path / "seed-1.parquet")
    table = scores.score_screening_file(tmp_path / "seed-1.parquet")
    found = table.set_index(["split", "metric"])["value"]
    assert list(table) == scores.COLUMNS
    assert (found["dev", "auprc"], found["dev", "f1"], found["test", "f1"]) == (1, 1, 0)
    assert found["test", "auprc"] == pytest.approx(1 / 3)
