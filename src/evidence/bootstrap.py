"""Uncertainty of differences between fits: draws of documents, variance of seeds, intervals, corrected p values.

Seeds and documents (or patients) are two crossed factors, as every seed is scored on the same documents. Documents are
drawn with replacement, the same for all fits and seeds (paired). Two to ten seeds are too few to be drawn: `estimate`
works out what they add from their scores. `benchmarks.intervals` has the coverage on simulated studies.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from evidence.scores import precision_recall_f1

NORMAL = np.linspace(-8, 8, 321)  # normal scores, at which laws are averaged
DENSITY = norm.pdf(NORMAL)
ROUNDING = 1e-24  # variance of the order in which equal scores are added up: no difference is significant for it


def draw_weights(*, units: int, draws: int, seed: int, key: str) -> np.ndarray:
    """How often each of `units` is drawn with replacement, (1 + draws, units); row 0 is the sample, every unit once.

    The same seed and `key` give the same draws.
    """
    generator = np.random.default_rng([seed, crc32(key.encode())])
    drawn = generator.multinomial(units, np.full(units, 1 / units), size=draws)
    return np.vstack([np.ones((1, units), dtype=drawn.dtype), drawn])


def ner_scores(*, tallies: np.ndarray, weights: np.ndarray, metric: str) -> np.ndarray:
    """Micro "f1" or "recall" by draw and seed, (draws, seeds); nan where a draw has nothing to score.

    `tallies` (seeds, documents, 3) holds tp, fp, fn; `weights` (draws, documents).
    """
    totals = np.tensordot(weights.astype(float), tallies.astype(float), axes=(1, 1))  # (draws, seeds, 3)
    tp, fp, fn = np.moveaxis(totals, -1, 0)
    _, recall, f1 = precision_recall_f1(tp, fp, fn)
    return f1 if metric == "f1" else np.where(tp + fn > 0, recall, np.nan)


def average_precisions(*, gold: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision by draw and seed, (draws, seeds); patients count `weights` times.

    `gold` (patients,), `scores` (seeds, patients), `weights` (draws, patients). Average precision as in scikit-learn:
    the sum over thresholds of precision times gain in recall; ties share a threshold. nan where a draw has no positive.
    """
    columns = []
    for row in scores:
        order = np.argsort(-row, kind="stable")
        last = np.append(np.diff(row[order]) != 0, True)  # the last patient of each threshold
        right = np.cumsum(weights[:, order] * gold[order], axis=1)[:, last].astype(float)
        flagged = np.cumsum(weights[:, order], axis=1)[:, last].astype(float)
        precision = np.divide(right, flagged, out=np.zeros_like(right), where=flagged > 0)
        positives = np.where(right[:, -1] > 0, right[:, -1], np.nan)
        columns.append((np.diff(right, axis=1, prepend=0) * precision).sum(axis=1) / positives)
    return np.stack(columns, axis=1)


def by_copy(*, values: np.ndarray, copies: Sequence[int]) -> np.ndarray:
    """Mean by draw over the seeds that share a pre-training copy, (draws, copies); `values` (draws, seeds).

    `copies` (seeds,) says which one a seed used. Seeds of one copy are not independent: copies are then what is drawn.
    """
    copies = np.asarray(copies)
    return np.stack([values[:, copies == one].mean(axis=1) for one in np.unique(copies)], axis=1)


@dataclass(frozen=True)
class Spread:
    """Variance over seeds of one seed's score: on the sample, on draws beyond it; degrees of freedom of the first."""

    seeds: float
    both: float
    freedom: int


def pooled(fits: Sequence[np.ndarray]) -> Spread:
    """The spread that fits (1 + draws, seeds) have in common; a fit of one seed is a rule and says nothing.

    Two seeds of one fit may agree by chance; those of all arms of a task seldom do. Arms are taken to vary alike.
    """
    several = [fit for fit in fits if fit.shape[1] > 1 and not np.isnan(fit[0]).any()]
    if not several:
        return Spread(0.0, 0.0, 0)
    weights = [fit.shape[1] - 1 for fit in several]
    seeds = [fit[0].var(ddof=1) for fit in several]
    both = [np.nanmean((fit[1:] - fit[0]).var(axis=1, ddof=1)) for fit in several]
    return Spread(*(float(np.average(found, weights=weights)) for found in (seeds, both)), sum(weights))


@dataclass(frozen=True)
class Part:
    """What a fit adds to an estimate: its weighed values (1 + draws, seeds), and the weight that each spread has."""

    values: np.ndarray
    weights: Mapping[Hashable, float]

    def __add__(self, other: "Part") -> "Part":
        weights = {
            name: self.weights.get(name, 0) + other.weights.get(name, 0) for name in {**self.weights, **other.weights}
        }
        return Part(self.values + other.values, weights)

    def __mul__(self, factor: float) -> "Part":
        return Part(self.values * factor, {name: weight * factor for name, weight in self.weights.items()})


@dataclass(frozen=True)
class Estimate:
    """A difference and its variance: over documents, and over seeds with the degrees of freedom of that."""

    value: float
    documents: float
    seeds: float
    freedom: float

    def p(self, distance: float) -> float:
        """Probability of an estimate at least `distance` from the truth, on either side.

        A normal law whose variance is not known is averaged over what it may be: that over seeds as its estimate by a
        chi-squared share (generalised inference, Weerahandi 1993). It is Student's law where only seeds vary, and the
        normal one where only documents do. Satterthwaite's one law for all has too thin tails when seeds agree by
        chance.
        """
        return float(np.average(2 * norm.sf(distance / self.errors), weights=DENSITY))

    @cached_property
    def errors(self) -> np.ndarray:
        """The standard errors that the estimate may have, at the quantiles of the chi-squared law for `NORMAL`."""
        seeds = self.seeds * self.freedom / chi2.ppf(norm.cdf(NORMAL), self.freedom) if self.seeds else 0 * NORMAL
        return np.sqrt(np.maximum(self.documents + seeds, ROUNDING))

    def reach(self, confidence: float) -> float:
        """Half the width of the interval: the distance beyond which 1 - `confidence` lies; 0 where nothing varies."""
        error = np.sqrt(self.documents + self.seeds)
        if not error > 0:
            return float(error)
        far = error
        while self.p(far) > 1 - confidence:
            far *= 2
        return float(brentq(lambda distance: self.p(distance) - (1 - confidence), 0, far, xtol=1e-9 * error))

    def interval(self, confidence: float) -> tuple[float, float, float]:
        """Interval (low, high), and the two-sided p value; without variance it is certainty."""
        reach = self.reach(confidence)
        return self.value - reach, self.value + reach, self.p(abs(self.value)) if reach == reach else np.nan

    def detectable(self, confidence: float) -> float:
        """Smallest true difference that a study of this size finds in four of five cases, at level 1 - `confidence`.

        The two-sided quantile of the level and the one of a power of 80 %, added up (Bloom 1995).
        """
        return self.reach(confidence) + self.reach(0.6)


def estimate(parts: Sequence[Part], spreads: Mapping[Hashable, Spread]) -> Estimate:
    """The sum of the parts' means over seeds.

    Row 0 is the sample, the others are draws of documents. What seeds and documents do together is in the variance
    over each of them and counts once, with the seeds (crossed factors: Cameron, Gelbach and Miller 2011). Fits
    are independent of one another but for their documents; the scores of one fit are taken to rise and fall together
    over its seeds, and so are the spreads of what the same fits are measured on: they tell no more than one of them.
    Degrees of freedom of several groups of spreads after Satterthwaite (1946).
    Draws with nothing to score are left out; nan when the sample has nothing.
    """
    means = np.sum([part.values.mean(axis=1) for part in parts], axis=0)
    if np.isnan(means[0]):
        return Estimate(*[np.nan] * 4)
    documents, by_spread = np.nanvar(means[1:], ddof=1), dict.fromkeys(spreads, 0.0)
    varied = [part for part in parts if part.values.shape[1] > 1]
    for part in varied:
        deviations = {name: abs(weight) * np.sqrt(spreads[name].seeds) for name, weight in part.weights.items()}
        for name, weight in part.weights.items():
            by_spread[name] += deviations[name] * sum(deviations.values()) / part.values.shape[1]
            documents -= weight**2 * spreads[name].both / part.values.shape[1]
    seeds = sum(by_spread.values())
    told = {name: found / np.sqrt(spreads[name].freedom) for name, found in by_spread.items() if found}
    unsure = sum(sum(told.get(name, 0.0) for name in group) ** 2 for group in _groups(varied))
    freedom = seeds**2 / unsure if unsure else np.inf
    return Estimate(float(means[0]), float(max(documents, 0)), float(seeds), float(freedom))


def _groups(parts: Sequence[Part]) -> list[set[Hashable]]:
    """The spreads that parts have in common, directly or through others, as disjoint sets."""
    groups: list[set[Hashable]] = []
    for names in (set(part.weights) for part in parts):
        groups = [group for group in groups if not group & names] + [names.union(*(g for g in groups if g & names))]
    return groups


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjustment of a family of p values; nan (not tested) stays nan, but counts in the family."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p)  # nan last
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted
