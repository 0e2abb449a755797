"""Verdicts and intervals on simulated predictions: how often chance alone gets a verdict, how often truth is covered.

    python -m benchmarks.intervals [--quick] [--json FILE]

A simulated tagger finds each of a document's ten mentions with a probability whose log-odds are those of the arm, plus
what the document, the seed, and the seed on that document add; wrong entities come by a Poisson law. Documents are the
same for all arms, seeds are not, as in a run. `aa`: studies of three arms that differ by nothing but their seeds, on
three test sets, with the comparisons of C1, C2 and C4, and the share of studies with a verdict other than inconclusive:
of any comparison, of any claim, of either. With `copies` every seed is one of an arm's pre-trainings, which adds the
same on all test sets, the hardest case for a mean over them. `coverage`: how often the interval of a planted difference
holds the true one, which is that of very many documents and seeds. `seed_share`: share of the difference's variance
that comes from the seeds.
"""

from concurrent.futures import Executor, ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import paired
from evidence import bootstrap, claims
from evidence.scores import precision_recall_f1

MENTIONS, DOCUMENTS, WRONG = 10, 150, 1.5  # a document's mentions; documents of a test set; wrong entities a document
LEVEL, PLANTED = 0.8, 0.25  # log-odds of a mention to be found, and what the better arm adds
OF_DOCUMENT, OF_BOTH = 0.8, 0.3  # standard deviations, in log-odds
SPREADS = (0.02, 0.06, 0.12)  # of the seeds, in log-odds: F1 varies by 0.003, 0.009 and 0.018
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


def truth(spread: float) -> tuple[float, float]:
    """Expected difference of the planted arms' F1, and the standard deviation that seeds give one arm's F1."""
    chance, scores = np.random.default_rng(1), []
    for level in (LEVEL + PLANTED, LEVEL):
        documents = chance.normal(0, OF_DOCUMENT, 20_000)
        scores.append(precision_recall_f1(*tallies(level, documents, 200, spread, chance).sum(1).T)[2])
    return float(scores[0].mean() - scores[1].mean()), float(scores[1].std(ddof=1))


def planted(number: int, seeds: int, spread: float) -> tuple[float, float, float]:
    """Difference and interval of one comparison of three simulated arms, by the same steps as `claims.compare`."""
    chance = np.random.default_rng([number, seeds, round(1000 * spread)])
    documents = chance.normal(0, OF_DOCUMENT, DOCUMENTS)
    sides = [tallies(level, documents, seeds, spread, chance) for level in (LEVEL + PLANTED, LEVEL, LEVEL)]
    weights = bootstrap.draw_weights(units=DOCUMENTS, draws=DRAWS, seed=number, key="documents")
    values = [bootstrap.ner_scores(tallies=side, weights=weights, metric="f1") for side in sides]
    parts = [bootstrap.Part(side, {"f1": 1.0}) * sign for side, sign in zip(values, (1, -1), strict=False)]
    found = bootstrap.estimate(parts, {"f1": bootstrap.pooled(values)})
    return found.value, *found.interval(CONFIDENCE)[:2]


def coverage(pool: Executor, simulations: int, seeds: int, spread: float) -> dict[str, Any]:
    """How often the interval holds the true difference, and how wide it is."""
    true, of_seed = truth(spread)
    studies = pool.map(planted, range(simulations), repeat(seeds), repeat(spread), chunksize=10)
    found, low, high = np.array([*studies]).T
    return {
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
    designs = [(seeds, spread) for seeds in SEEDS for spread in SPREADS]
    designs = designs[:2] if asked.quick else designs
    result: dict[str, Any] = {"documents": DOCUMENTS, "draws": DRAWS, "confidence": CONFIDENCE}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        few = [(*design, copies) for copies in (False, True) for design in designs if design[0] <= FEW]
        result["aa"] = [aa(pool, 40 if asked.quick else 500, *design) for design in few]
        result["coverage"] = [coverage(pool, 100 if asked.quick else 1000, *design) for design in designs]
    paired.finish(result, asked.json)


if __name__ == "__main__":
    main()
