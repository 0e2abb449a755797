"""Uncertainty of differences between fits: draws of documents, variance of seeds, intervals, corrected p values.

Seeds and documents (or patients) are two crossed factors, as every seed is scored on the same documents. Documents are
drawn with replacement, the same for all fits and seeds (paired). Two to ten seeds are too few to be drawn: `estimate`
works out what they add from their scores. `benchmarks.intervals` has the coverage on simulated studies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from scipy.stats import t as student

from evidence.scores import precision_recall_f1


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
class Estimate:
    """A difference with its standard error and the degrees of freedom of that."""

    value: float
    error: float
    freedom: float

    def interval(self, confidence: float) -> tuple[float, float, float]:
        """Student's interval (low, high), and the two-sided p value; an error of 0 is certainty."""
        if not self.error:
            return self.value, self.value, float(self.value == 0)
        reach = self.error * student.ppf((1 + confidence) / 2, self.freedom)
        p = 2 * student.sf(abs(self.value) / self.error, self.freedom)
        return float(self.value - reach), float(self.value + reach), float(p)

    def detectable(self, confidence: float) -> float:
        """Smallest true difference that a study of this size finds in four of five cases, without correction.

        The two-sided quantile of the level and the one of a power of 80 %, in standard errors (Bloom 1995).
        """
        quantiles = student.ppf([(1 + confidence) / 2, 0.8], self.freedom)
        return float(self.error * quantiles.sum()) if self.error else 0.0


def estimate(parts: Sequence[np.ndarray]) -> Estimate:
    """The sum of the parts' means over seeds, where each part is a fit's values, weighed (1 + draws, seeds).

    Row 0 is the sample, the others are draws of documents. The variance of a mean over crossed seeds and documents is
    that over seeds plus that over documents less that of both together, which is in each of the two (Cameron, Gelbach
    and Miller 2011). Fits are independent of one another but for their documents, and taken to vary alike over seeds;
    degrees of freedom after Satterthwaite (1946), documents being many. A part of one seed is a rule and adds none.
    Draws with nothing to score are left out; nan when the sample has nothing.
    """
    scored = ~np.isnan(np.stack([part.mean(axis=1) for part in parts])).any(axis=0)
    if not scored[0]:
        return Estimate(np.nan, np.nan, np.nan)
    parts = [part[scored] for part in parts]
    documents = sum(part[1:].mean(axis=1) for part in parts).var(ddof=1)
    several = [part for part in parts if part.shape[1] > 1]
    seeds = sum(part[0].var(ddof=1) / part.shape[1] for part in several)
    both = sum((part[1:] - part[0]).var(axis=1, ddof=1).mean() / part.shape[1] for part in several)
    variance = max(seeds + documents - both, seeds, documents)
    freedom = sum(part.shape[1] - 1 for part in several) * (variance / seeds) ** 2 if seeds else np.inf
    return Estimate(float(sum(part[0].mean() for part in parts)), float(np.sqrt(variance)), float(freedom))


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjustment of a family of p values; nan (not tested) stays nan, but counts in the family."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p)  # nan last
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted
