"""The bootstrap against SciPy and scikit-learn, its coverage on planted differences, and Holm by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score

from evidence import bootstrap


def test_values_by_copy_are_the_means_of_its_seeds():
    values = np.array([[1.0, 2, 3, 10], [0, 0, 4, 4]])
    assert bootstrap.by_copy(values=values, copies=[0, 1, 0, 1]).tolist() == [[2, 6], [2, 2]]


def tallies(seeds, documents, right, generator):
    """Counts (seeds, documents, 3) of a tagger that finds a share `right` of four mentions a document."""
    tp = generator.binomial(4, right, size=(seeds, documents))
    return np.stack([tp, generator.poisson(1.0, size=tp.shape), 4 - tp], axis=-1)


def test_draws_are_the_sample_then_resamples_and_follow_seed_and_key():
    one, again = (bootstrap.draw_weights(units=7, draws=50, seed=3, key="a") for _ in range(2))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(one[0], np.ones(7))
    assert set(one.sum(axis=1)) == {7}
    for seed, key in ((4, "a"), (3, "b")):
        assert (bootstrap.draw_weights(units=7, draws=50, seed=seed, key=key) != one).any()


def test_ner_scores_equal_counting_repeated_documents():
    generator = np.random.default_rng(1)
    made, weights = tallies(2, 9, 0.5, generator), bootstrap.draw_weights(units=9, draws=5, seed=1, key="a")
    found, recalls = (bootstrap.ner_scores(tallies=made, weights=weights, metric=metric) for metric in ("f1", "recall"))
    for draw in range(6):
        for seed in range(2):
            tp, fp, fn = np.repeat(made[seed], weights[draw], axis=0).sum(axis=0)
            assert found[draw, seed] == pytest.approx(
                f1_score([1] * (tp + fn) + [0] * fp, [1] * tp + [0] * fn + [1] * fp)
            )
            assert recalls[draw, seed] == pytest.approx(tp / (tp + fn))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4)), min_size=2, max_size=15), st.integers(0, 99))
def test_average_precisions_equal_scikit_learn_with_weights(patients, seed):
    gold, scores = np.array(patients).T
    weights = bootstrap.draw_weights(units=len(gold), draws=3, seed=seed, key="p")
    found = bootstrap.average_precisions(gold=gold, scores=scores[None].astype(float), weights=weights)
    for draw, repeats in enumerate(weights):
        y, s = np.repeat(gold, repeats), np.repeat(scores, repeats)
        if y.any():
            assert found[draw, 0] == pytest.approx(average_precision_score(y, s))
        else:
            assert np.isnan(found[draw, 0])


def test_one_level_interval_agrees_with_scipy():
    generator = np.random.default_rng(2)
    base = generator.binomial(4, 0.5, size=120)
    better = np.minimum(4, base + generator.binomial(1, 0.3, size=120))
    sides = [np.stack([tp, np.ones_like(tp), 4 - tp], axis=-1)[None] for tp in (better, base)]
    weights = bootstrap.draw_weights(units=120, draws=6000, seed=5, key="a")
    ours, theirs = (bootstrap.ner_scores(tallies=side, weights=weights, metric="f1")[:, 0] for side in sides)
    low, high, _ = bootstrap.interval((ours - theirs)[1:], 0.95)

    def difference(a, b, axis=-1):
        return sum(sign * 2 * tp.sum(axis) / (tp.sum(axis) + 5 * tp.shape[axis]) for sign, tp in ((1, a), (-1, b)))

    reference = stats.bootstrap(
        (better, base), difference, paired=True, method="percentile", n_resamples=6000, vectorized=True, rng=5
    ).confidence_interval
    width = reference.high - reference.low
    # Two draws of the same quantile differ by about 3 % of the width; the unpaired interval is far wider.
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=0.08 * width)
    shuffled = bootstrap.ner_scores(tallies=sides[1][:, ::-1], weights=weights, metric="f1")[:, 0]
    unpaired = bootstrap.interval((ours - shuffled)[1:], 0.95)
    assert unpaired[1] - unpaired[0] > 1.5 * width


@pytest.mark.parametrize(
    ("seeds", "spread", "least"),
    # Standard deviation of a seed's mean; that of the documents' mean is 0.01. Few seeds that differ much: too narrow.
    [(5, 0.0, 0.93), (5, 0.01, 0.93), (5, 0.02, 0.92), (3, 0.01, 0.93), (3, 0.02, 0.90), (2, 0.02, 0.84)],
)
def test_intervals_cover_a_planted_difference_as_often_as_they_say(seeds, spread, least):
    generator, documents, hits = np.random.default_rng(seeds), 100, 0
    drawn = bootstrap.draw_weights(units=documents, draws=1000, seed=1, key="documents") / documents
    drawn_seeds = bootstrap.draw_weights(units=seeds, draws=1000, seed=1, key="seeds")
    for _ in range(1000):
        differences = 0.05 + spread * generator.standard_normal((seeds, 1))
        differences = differences + 0.1 * generator.standard_normal((1, documents))
        differences = differences + 0.02 * generator.standard_normal((seeds, documents))
        found = bootstrap.over_seeds(values=drawn @ differences.T, weights=drawn_seeds)
        low, high, _ = bootstrap.interval(found[1:], 0.95)
        hits += low <= 0.05 <= high
    assert least <= hits / 1000 <= 0.98, hits


def test_seeds_vary_in_draws_as_they_do_in_a_sample():
    values = np.tile([0.1, 0.4, 0.2], (20001, 1))
    drawn = bootstrap.draw_weights(units=3, draws=20000, seed=1, key="s")
    assert bootstrap.over_seeds(values=values, weights=drawn)[1:].var() == pytest.approx(
        np.var([0.1, 0.4, 0.2], ddof=1) / 3, rel=0.03
    )


def test_interval_properties():
    assert bootstrap.interval(np.zeros(99), 0.95) == (0, 0, 1)
    low, high, p = bootstrap.interval(np.full(99, 0.2), 0.95)
    assert (low, high, p) == (0.2, 0.2, 2 / 100)
    draws = np.random.default_rng(4).normal(1, 1, 4000)
    low, high, p = bootstrap.interval(draws, 0.9)
    assert (low, high) == pytest.approx((1 - 1.645, 1 + 1.645), abs=0.1)
    assert p == pytest.approx(2 * 0.1587, abs=0.03)
    assert np.isnan(bootstrap.interval(np.array([np.nan]), 0.9)).all()
    assert bootstrap.interval(np.array([np.nan, 0.2]), 0.9)[0] == 0.2


def test_the_detectable_difference_is_found_in_four_of_five_cases():
    generator = np.random.default_rng(3)
    error = 0.02
    least = bootstrap.detectable(generator.normal(0.5, error, 100_000), 0.95)
    found = generator.normal(least, error, 100_000)
    assert np.mean(found > 1.96 * error) == pytest.approx(0.8, abs=0.01)


def test_holm_by_hand():
    # Ordered .01 .02 .03 .04 -> .04 .06 .06 .06: each step is at least the one before.
    np.testing.assert_allclose(bootstrap.holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(bootstrap.holm([0.5, 0.6]), [1, 1])
    np.testing.assert_allclose(bootstrap.holm([0.01, np.nan]), [0.02, np.nan])
    assert len(bootstrap.holm([])) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_false_discovery_control_and_bonferroni(p):
    adjusted = bootstrap.holm(p)
    assert (adjusted <= np.minimum(1, np.array(p) * len(p)) + 1e-12).all()
    assert (adjusted >= stats.false_discovery_control(p) - 1e-12).all()
