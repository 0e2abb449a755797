"""Uncertainty of a difference: bootstrap draws over seeds and documents, scores by draw, intervals, corrected p values.

Seeds and documents (or patients) are two crossed factors, as every seed is scored on the same documents. A draw takes
seeds and documents with replacement, the same for both arms (paired), and the same documents for every seed (Owen 2007,
"The pigeonhole bootstrap"). A draw's deviation of the seeds is stretched by sqrt(n / (n - 1)): n drawn of n vary too
little by that much (Rao and Wu 1988). Where seeds differ more than documents do, 2 or 3 of them still give intervals
that are too narrow (tests/test_bootstrap.py has the coverage).
"""

from collections.abc import Sequence
from statistics import NormalDist
from zlib import crc32

import numpy as np

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


def over_seeds(*, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over the drawn seeds, (draws,), its deviation from the mean over all seeds stretched by sqrt(n / (n - 1)).

    `values` (draws, seeds) by draw of documents; `weights` (draws, seeds), how often each of n >= 2 seeds is drawn.
    """
    every, seeds = values.mean(axis=1), values.shape[1]
    return every + np.sqrt(seeds / (seeds - 1)) * ((values * weights).sum(axis=1) / seeds - every)


def interval(draws: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """Percentile interval (low, high) of a difference's draws and its two-sided p value; nan draws are left out.

    p is twice the smaller share of draws on either side of 0, one draw added to each (Davison & Hinkley 1997, §4.2).
    """
    draws = draws[~np.isnan(draws)]
    if not len(draws):
        return float("nan"), float("nan"), float("nan")
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    tail = min(np.sum(draws <= 0), np.sum(draws >= 0))
    return float(low), float(high), float(min(1.0, 2 * (tail + 1) / (len(draws) + 1)))


def detectable(draws: np.ndarray, confidence: float) -> float:
    """Smallest true difference that a study of this size finds in four of five cases, without correction.

    (z of the two-sided level + z of a power of 80 %) standard errors (Bloom 1995), from the draws' spread.
    """
    z = NormalDist().inv_cdf
    return float((z((1 + confidence) / 2) + z(0.8)) * np.nanstd(draws))


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjustment of a family of p values; nan (not tested) stays nan, but counts in the family."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p)  # nan last
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted
