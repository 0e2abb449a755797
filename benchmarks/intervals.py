"""Verdicts and intervals on simulated predictions: how often chance alone gets a verdict, how often truth is covered.

    python -m benchmarks.intervals [--quick] [--json FILE]

A simulated tagger finds each of a document's ten mentions with a probability whose log-odds are those of the arm, plus
what the document, the seed, and the seed on that document add; wrong entities come by a Poisson law. Documents are the
same for all arms, seeds are not, as in a run. `aa`: studies of three arms that differ by nothing but their seeds, on
three test sets, with the comparisons of C1, C2 and C4, and the share of studies with a verdict other than inconclusive:
of any comparison, of any claim, of either. With `copies` every seed is one of an arm's pre-trainings, which adds the
same on all test sets, the hardest case for a mean over them. `coverage`: how often the interval of a planted difference
holds the true one, which is that of very many documents and seeds; of F1, and of AUPRC, where a patient's score is what
the patient, and the seed on that patient, make of it by a normal law, plus a gain for those with the condition that is
the arm's and the seed's. `seed_share`: share of the difference's variance that comes from the seeds.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import paired
from evidence import bootstrap, claims

MENTIONS, DOCUMENTS, WRONG = 10, 150, 1.5  # a document's mentions; documents of a test set; wrong entities a document
LEVEL, PLANTED = 0.8, 0.25  # log-odds of a mention to be found, and what the better arm adds
OF_DOCUMENT, OF_BOTH = 0.8, 0.3  # standard deviations, in log-odds
SPREADS = (0.02, 0.06, 0.12, 0.2)  # of the seeds, in log-odds: F1 varies by 0.003, 0.009, 0.017 and 0.029
PATIENTS, POSITIVE = 500, 0.1  # of a test set, and the share that has the condition
GAIN, BETTER = 1.0, 0.2  # what a score gains by the condition, and what the better arm adds
OF_PATIENT, OF_SEED = 0.8, 0.6  # standard deviations of a score over patients, and over seeds on a patient
GAINS = (0.03, 0.06, 0.12)  # standard deviations of the gain over seeds: AUPRC varies by 0.01, 0.02 and 0.04
SEEDS = (2, 3, 5, 10)
FEW = 5  # seeds up to which whole studies are simulated: more take an hour, and are the easier case
DRAWS, CONFIDENCE = 1000, 0.95


def tallies(
    level: float | np.ndarray, documents: np.ndarray, seeds: int, spread: float, chance: np.random.Generator
) -> np.ndarray:
    """Counts (seeds, documents, 3: tp fp fn) of a simulated arm; `documents` holds what each adds to the log-odds."""
    shape = (seeds, len(documents))
    odds = level + documents + chance.normal(0, spread, (seeds, 1)) + chance.normal(0, OF_BOTH, shape)
    found = chance.binomial(MENTIONS, 1 / (1 + np.exp(-odds)))
    return np.stack([found, chance.poisson(WRONG, shape), MENTIONS - found], axis=-1)


def rows(task: str, arm: str, counted: np.ndarray) -> pd.DataFrame:
    """Predictions with these counts, as a fit writes them."""
    frames = []
    for seed, of_seed in enumerate(counted):
        for kind, begin, numbers in (
            ("gold", 0, np.full(len(of_seed), MENTIONS)),
            ("predicted", 0, of_seed[:, 0]),
            ("predicted", MENTIONS, of_seed[:, 1]),
        ):
            document = np.repeat(np.arange(len(numbers)), numbers)
            place = begin + np.arange(len(document)) - np.repeat(np.cumsum(numbers) - numbers, numbers)
            frames.append(pd.DataFrame({"seed": seed, "document": document, "start": 10 * place, "kind": kind}))
    table = pd.concat(frames, ignore_index=True)
    table["document"] = "d" + table["document"].astype(str)
    return table.assign(task=task, test=task, arm=arm, language="es", end=table["start"] + 5, label="X", text="m")


def family(tests: list[str]) -> list[dict[str, str]]:
    """The comparisons of a study after those that the profiles declare."""
    pairs = [("C1", "biomedical", "general", "f1"), ("C1", "clinical", "general", "f1")]
    pairs += [("C2", "clinical", "biomedical", "f1"), ("C4", "clinical", "general", "recall")]
    names = ("claim", "arm", "against", "metric")
    return [{"task": test, **dict(zip(names, pair, strict=True))} for pair in pairs for test in tests]


def repetition(number: int, seeds: int, spread: float, copies: bool) -> tuple[bool, bool]:
    """Whether a simulated study in which no arm differs from another gives any comparison, any claim a verdict."""
    chance, fits = np.random.default_rng([number, seeds, round(1000 * spread)]), {}
    arms = ("general", "biomedical", "clinical")
    of_copy = {arm: chance.normal(0, spread, (seeds, 1)) if copies else 0.0 for arm in arms}
    for test in (tests := ["test 1", "test 2", "test 3"]):
        documents = chance.normal(0, OF_DOCUMENT, DOCUMENTS)
        for arm in arms:
            counted = tallies(LEVEL + of_copy[arm], documents, seeds, 0.0 if copies else spread, chance)
            fits[test, arm] = rows(test, arm, counted)
    stated, used = dict.fromkeys(("C1", "C2", "C4"), ""), dict.fromkeys(arms, seeds) if copies else {}
    how = {
        "copies": used,
        "draws": DRAWS,
        "confidence": CONFIDENCE,
        "seed": number,
        "synthetic": True,
        "stated": stated,
    }
    table, content = claims.compare(fits, family(tests), **how)
    decided = {"supported", "contradicted"}
    return bool(decided & set(table["verdict"])), any(claim["verdict"] in decided for claim in content["claims"])


def aa(pool: Executor, repetitions: int, seeds: int, spread: float, copies: bool) -> dict[str, Any]:
    """Shares of studies without any difference that give a verdict all the same."""
    design = map(repeat, (seeds, spread, copies))
    found = np.array([*pool.map(repetition, range(repetitions), *design, chunksize=10)])
    shares = dict(zip(("any_comparison", "any_claim"), found.mean(axis=0).tolist(), strict=True))
    shares["either"] = float(found.any(axis=1).mean())
    return {"seeds": seeds, "spread": spread, "copies": copies, "repetitions": repetitions, **shares}


def f1(
    better: Sequence[bool], units: np.ndarray, seeds: int, spread: float, chance: np.random.Generator
) -> list[np.ndarray]:
    """F1 of arms by draw and seed, (draws, seeds); `units` (draws, documents) says how often each is drawn."""
    documents = chance.normal(0, OF_DOCUMENT, units.shape[1])
    sides = [tallies(LEVEL + PLANTED * is_better, documents, seeds, spread, chance) for is_better in better]
    return [bootstrap.ner_scores(tallies=side, weights=units, metric="f1") for side in sides]


def auprc(
    better: Sequence[bool], units: np.ndarray, seeds: int, spread: float, chance: np.random.Generator
) -> list[np.ndarray]:
    """AUPRC of arms by draw and seed, (draws, seeds); `units` (draws, patients) says how often each is drawn."""
    count = units.shape[1]
    gold, patients, values = chance.random(count) < POSITIVE, chance.normal(0, OF_PATIENT, count), []
    for is_better in better:
        gains = GAIN + BETTER * is_better + chance.normal(0, spread, (seeds, 1))
        scores = gold * gains + patients + chance.normal(0, OF_SEED, (seeds, count))
        values.append(bootstrap.average_precisions(gold=gold, scores=scores, weights=units))
    return values


SIMULATED: dict[str, tuple[Callable[..., list[np.ndarray]], int, tuple[float, ...]]] = {
    "f1": (f1, DOCUMENTS, SPREADS),
    "auprc": (auprc, PATIENTS, GAINS),
}


def truth(metric: str, spread: float) -> tuple[float, float]:
    """Expected difference of the planted arms, and the standard deviation that seeds give one arm's score."""
    units = np.ones((1, 20_000))
    better, other = SIMULATED[metric][0]([True, False], units, 200, spread, np.random.default_rng(1))
    return float(better.mean() - other.mean()), float(other.std(ddof=1))


def planted(number: int, metric: str, seeds: int, spread: float) -> tuple[float, float, float]:
    """Difference and interval of one comparison of three simulated arms, by the same steps as `claims.compare`."""
    simulated, units, _ = SIMULATED[metric]
    weights = bootstrap.draw_weights(units=units, draws=DRAWS, seed=number, key="documents")
    chance = np.random.default_rng([number, seeds, round(1000 * spread)])
    values = simulated([True, False, False], weights, seeds, spread, chance)
    parts = [bootstrap.Part(side, {metric: 1.0}) * sign for side, sign in zip(values, (1, -1), strict=False)]
    found = bootstrap.estimate(parts, {metric: bootstrap.pooled(values)})
    return found.value, *found.interval(CONFIDENCE)[:2]


def coverage(pool: Executor, simulations: int, metric: str, seeds: int, spread: float) -> dict[str, Any]:
    """How often the interval holds the true difference, and how wide it is."""
    true, of_seed = truth(metric, spread)
    studies = pool.map(planted, range(simulations), *map(repeat, (metric, seeds, spread)), chunksize=10)
    found, low, high = np.array([*studies]).T
    return {
        "metric": metric,
        "seeds": seeds,
        "spread": spread,
        "simulations": simulations,
        "difference": true,
        "seed_sd": of_seed,
        "covered": float(((low <= true) & (true <= high)).mean()),
        "width": float((high - low).mean()),
        "bias": float(found.mean() - true),
        "seed_share": float(2 * of_seed**2 / seeds / found.var(ddof=1)),
    }


def main() -> None:
    """Simulate, print and write."""
    asked = paired.options(__doc__.splitlines()[0])
    most = 2 if asked.quick else None
    of = {m: [(n, spread) for n in SEEDS for spread in spreads][:most] for m, (_, _, spreads) in SIMULATED.items()}
    result: dict[str, Any] = {"documents": DOCUMENTS, "patients": PATIENTS, "draws": DRAWS, "confidence": CONFIDENCE}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        few = [(*design, copies) for copies in (False, True) for design in of["f1"] if design[0] <= FEW]
        result["aa"] = [aa(pool, 40 if asked.quick else 500, *design) for design in few]
        many = 100 if asked.quick else 1000
        result["coverage"] = [coverage(pool, many, metric, *design) for metric, some in of.items() for design in some]
    paired.finish(result, asked.json)


if __name__ == "__main__":
    main()
