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


def estimated(parts):
    """The estimate of parts (1 + draws, seeds) that all vary over seeds as they do together."""
    spread = bootstrap.pooled(parts)
    return bootstrap.estimate([bootstrap.Part(part, {"all": 1.0}) for part in parts], {"all": spread})


@pytest.mark.parametrize("tasks", [3, 5])
def test_equal_scores_are_no_difference_however_they_are_added_up(tasks):
    ones = np.full((50, 3), 1.0)
    arms = [bootstrap.Part(ones, {"all": 1.0}) * (1 / (2 * tasks)) for _ in range(2 * tasks)]
    against = [bootstrap.Part(-ones, {"all": -1.0}) * (1 / tasks) for _ in range(tasks)]
    found = bootstrap.estimate([*arms, *against], {"all": bootstrap.Spread(0.0, 0.0, 6)})
    low, high, p = found.interval(0.95)
    assert (low, high, p) == (pytest.approx(0, abs=1e-9), pytest.approx(0, abs=1e-9), pytest.approx(1, abs=1e-3))


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


@settings(max_examples=40)
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
    low, high, _ = estimated([ours[:, None], -theirs[:, None]]).interval(0.95)

    def difference(a, b, axis=-1):
        return sum(sign * 2 * tp.sum(axis) / (tp.sum(axis) + 5 * tp.shape[axis]) for sign, tp in ((1, a), (-1, b)))

    reference = stats.bootstrap(
        (better, base), difference, paired=True, method="percentile", n_resamples=6000, vectorized=True, rng=5
    ).confidence_interval
    width = reference.high - reference.low
    # Two draws of the same quantile differ by about 3 % of the width; the unpaired interval is far wider.
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=0.08 * width)
    shuffled = bootstrap.ner_scores(tallies=sides[1][:, ::-1], weights=weights, metric="f1")[:, 0]
    unpaired = estimated([ours[:, None], -shuffled[:, None]]).interval(0.95)
    assert unpaired[1] - unpaired[0] > 1.5 * width


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.03])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_intervals_cover_a_planted_difference_as_often_as_they_say(seeds, spread):
    """Two arms whose seeds vary by `spread`; the mean of documents varies by 0.01, and seed and document together."""
    generator, documents, hits = np.random.default_rng(seeds), 100, 0
    drawn = bootstrap.draw_weights(units=documents, draws=1000, seed=1, key="documents") / documents
    for _ in range(1000):
        of_document = 0.1 * generator.standard_normal((1, documents))
        parts = []
        for sign, mean, of in ((1, 0.05, 1.0), (-1, 0.0, 0.0)):
            values = mean + spread * generator.standard_normal((seeds, 1)) + of * of_document
            values = values + 0.2 * generator.standard_normal((seeds, documents))
            parts.append(sign * drawn @ values.T)
        low, high, _ = estimated(parts).interval(0.95)
        hits += low <= 0.05 <= high
    assert 0.93 <= hits / 1000 <= 0.98, hits


def test_seeds_alone_give_student_s_test_of_two_samples():
    one, other = np.random.default_rng(1).normal(size=(2, 4))
    parts = [np.tile(one, (9, 1)), -np.tile(other, (9, 1))]
    theirs = stats.ttest_ind(one, other)
    found = estimated(parts)
    assert found.freedom == pytest.approx(theirs.df)
    bounds = theirs.confidence_interval(0.9)
    assert found.interval(0.9) == pytest.approx((bounds.low, bounds.high, theirs.pvalue))


def test_what_seeds_and_documents_do_together_counts_once():
    """One fit, noise of seed on document only: the mean of all cells has their variance by their number."""
    generator, errors = np.random.default_rng(2), []
    drawn = bootstrap.draw_weights(units=400, draws=800, seed=1, key="d") / 400
    for _ in range(50):
        found = estimated([drawn @ generator.standard_normal((400, 8))])
        errors.append(found.documents + found.seeds)
    assert np.mean(errors) == pytest.approx(1 / (400 * 8), rel=0.35)
    assert np.mean(errors) < 1.6 / (400 * 8)  # 3 times when drawn over both


def test_no_error_is_certainty_and_a_part_without_seeds_is_a_rule():
    none = estimated([np.full((5, 2), 0.3), np.full((5, 2), -0.3)])
    assert none.interval(0.95) == (0, 0, 1)
    assert estimated([np.full((5, 2), 0.3)]).interval(0.95) == pytest.approx((0.3, 0.3, 0))
    draws = np.random.default_rng(4).normal(1, 1, (4000, 1))
    draws[0] = 1
    found = estimated([draws])
    assert found.freedom == np.inf
    low, high, p = found.interval(0.9)
    assert (low, high) == pytest.approx((1 - 1.645, 1 + 1.645), abs=0.1)
    assert p == pytest.approx(2 * 0.1587, abs=0.03)


def test_draws_with_nothing_to_score_are_left_out():
    draws = np.random.default_rng(4).normal(size=(50, 2))
    holed = np.insert(draws, 7, np.nan, axis=0)
    assert estimated([holed, -holed / 2]) == estimated([draws, -draws / 2])
    holed[0] = np.nan
    assert np.isnan(estimated([holed]).interval(0.95)).all()


def test_the_detectable_difference_is_found_in_four_of_five_cases():
    generator, error = np.random.default_rng(3), 0.02
    least = bootstrap.Estimate(0.5, error**2, 0, np.inf).detectable(0.95)
    found = generator.normal(least, error, 100_000)
    assert np.mean(found > 1.96 * error) == pytest.approx(0.8, abs=0.01)


def test_the_law_of_an_estimate_is_a_normal_one_mixed_over_a_chi_squared_variance():
    """Against draws of a normal and a Student's variable, whose sum it is."""
    estimate = bootstrap.Estimate(0, documents=1.0, seeds=2.0, freedom=3)
    generator = np.random.default_rng(1)
    drawn = generator.normal(size=10**6) + np.sqrt(2) * generator.standard_t(3, 10**6)
    for distance in (1.0, 3.0, 8.0):
        share = np.mean(abs(drawn) > distance)
        assert estimate.p(distance) == pytest.approx(share, abs=5 * np.sqrt(share / 10**6))
    assert estimate.p(estimate.reach(0.9)) == pytest.approx(0.1)


@pytest.mark.parametrize("freedom", [1, 2, 7])
def test_far_tails_are_student_s_where_only_seeds_vary(freedom):
    estimate = bootstrap.Estimate(0, documents=0, seeds=1, freedom=freedom)
    for distance in (0.1, 5.0, 40.0):
        assert estimate.p(distance) == pytest.approx(2 * stats.t.sf(distance, freedom), rel=1e-4)


def test_seeds_that_agree_by_chance_are_not_taken_at_their_word():
    """Two arms of two seeds, one with seeds that agree: what they vary by is that of all arms of the task."""
    values = [np.tile(pair, (9, 1)) for pair in ([0.5, 0.5], [0.4, 0.6], [0.3, 0.5])]
    spread = bootstrap.pooled(values)
    assert (spread.seeds, spread.freedom) == (pytest.approx((0 + 0.02 + 0.02) / 3), 3)
    assert bootstrap.pooled([values[0], np.full((9, 1), 0.7)]) == bootstrap.Spread(0, 0, 1)
    found = bootstrap.estimate([bootstrap.Part(values[0], {"all": 1.0})], {"all": spread})
    assert found.seeds == pytest.approx(spread.seeds / 2)


def test_scores_of_one_fit_add_up_and_those_of_several_by_their_squares():
    """Weights 1 and 2 on two scores of a fit, against the same of two fits; freedom 1 and 3 by Satterthwaite."""
    spreads = {"a": bootstrap.Spread(4.0, 0.0, 1), "b": bootstrap.Spread(1.0, 0.0, 3)}
    values = np.zeros((5, 2))
    one, other = bootstrap.Part(values, {"a": 1.0}), bootstrap.Part(values, {"b": 1.0}) * -2
    together = bootstrap.estimate([one + other], spreads)
    assert together.seeds == pytest.approx((2 + 2) ** 2 / 2)
    assert together.freedom == pytest.approx(8**2 / (4 / 1**0.5 + 4 / 3**0.5) ** 2)
    apart = bootstrap.estimate([one, other], spreads)
    assert apart.seeds == pytest.approx((4 + 4) / 2)
    assert apart.freedom == pytest.approx(4**2 / (2**2 / 1 + 2**2 / 3))
    assert (one + one * 0.5).weights == {"a": 1.5}


def test_tasks_that_share_their_copies_tell_no_more_of_them_than_one():
    """Two arms without any difference, two copies each, the same on three tasks: decided as seldom as asked."""
    generator, decided = np.random.default_rng(6), 0
    for _ in range(4000):
        copies = generator.normal(size=(2, 2))
        spread = bootstrap.pooled([np.tile(arm, (3, 1)) for arm in copies])
        parts = [
            bootstrap.Part(np.tile(sign * 3 * arm, (3, 1)), {task: 1.0 for task in "abc"})
            for sign, arm in zip((1, -1), copies, strict=True)
        ]
        found = bootstrap.estimate(parts, {task: spread for task in "abc"})
        assert found.freedom == pytest.approx(2)
        decided += found.p(abs(found.value)) < 0.05
    assert 0.04 < decided / 4000 < 0.06


def test_groups_of_spreads_are_joined_by_any_part():
    parts = [bootstrap.Part(np.zeros((2, 2)), dict.fromkeys(names, 1.0)) for names in ("ab", "cd", "e", "bc")]
    assert sorted(map(sorted, bootstrap._groups(parts))) == [["a", "b", "c", "d"], ["e"]]


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
