"""Label budgets: a task's score by the number of labelled items, and how many of them an adaptation is worth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from evidence import bootstrap, tables
from evidence.claims import of_copies
from evidence.draws import Together, by_draw, documents_of, weighed
from evidence.scores import read_predictions
from texts import tasks

COLUMNS = ["task", "arm", "share", "items", "metric", "score", "low", "high", "seeds"]
WORTH = ["task", "arm", "control", "items", "saved", "low", "high", "bounded"]


def curve(
    folder: Path,
    task: str,
    arms: Sequence[str],
    shares: Sequence[float],
    *,
    copies: Mapping[str, int],
    together: Together,
    draws: int,
    confidence: float,
    seed: int,
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Scores of arms by share of the training items, a row a point (`COLUMNS`); and arm -> draws (points, 1 + draws).

    Strict F1, or AUPRC for screening, on the task's own test set. The interval is that of a score, over seeds and
    documents; seed n draws the same sample for every arm.
    `copies` as in `claims.difference`: they are drawn then, as seeds that share one are not independent. `together` as
    in `draws.weighed`.
    """
    points = [*sorted(shares), 1.0]
    rows = {(arm, share): _rows(folder, task, arm, share) for arm in arms for share in points}
    metric, values = _values(rows, task, together, draws=draws, seed=seed)
    total = len(tasks.split(folder, task, "train"))
    fits = {key: of_copies(values[key], sorted(set(rows[key]["seed"])), copies.get(key[0], 1)) for key in rows}
    spreads = {
        (share, several): bootstrap.pooled(
            [side for (_, of), (side, used) in fits.items() if (of, used > 1) == (share, several)]
        )
        for share in points
        for several in (False, True)
    }
    table, drawn = [], {}
    for arm in arms:
        sides = {share: (side, (share, used > 1)) for share in points for side, used in [fits[arm, share]]}
        found = [_over_seeds(side, spreads[of], f"{arm} {s} of {task}", seed) for s, (side, of) in sides.items()]
        drawn[arm] = np.stack(found)
        for (share, (side, of)), scores in zip(sides.items(), found, strict=True):
            score = bootstrap.estimate([bootstrap.Part(side, {of: 1.0})], spreads)
            low, high, _ = score.interval(confidence)
            row = {"task": task, "arm": arm, "share": share, "items": tables.items_of(share, total), "metric": metric}
            seeds = rows[arm, share]["seed"].nunique()
            table.append(row | {"score": scores[0], "low": low, "high": high, "seeds": seeds})
    return pd.DataFrame(table, columns=COLUMNS), drawn


def _rows(folder: Path, task: str, arm: str, share: float) -> pd.DataFrame:
    """The predictions of an arm that learnt from a share, on the task's own test set."""
    files = [path for path in tables.fits(folder, task, share) if path.parent.name == arm]
    rows = pd.concat([read_predictions(path, columns=["seed"]) for path in files], ignore_index=True)
    return rows[rows["test"] == task] if "test" in rows else rows


def _values(
    rows: Mapping[tuple[str, float], pd.DataFrame], task: str, together: Together, *, draws: int, seed: int
) -> tuple[str, dict[tuple[str, float], np.ndarray]]:
    """The metric, and its values (1 + draws, seeds) of every arm and share on the same drawn documents."""
    ner = all("kind" in side for side in rows.values())
    item = {"test": task, "mentions": "all", "metric": "f1" if ner else "auprc"}
    seeds = [sorted(set(side["seed"])) for side in rows.values()]
    documents = documents_of(dict(rows), task) if ner else []
    plan: dict[str, Any] = {"draws": draws, "seed": seed}
    plan["weights"] = weighed(dict(rows), task, documents, together, **plan) if ner else None
    plan |= {"common": {}, "train": {}}
    values, _ = by_draw(list(rows.values()), seeds, item, documents, **plan)
    return item["metric"], dict(zip(rows, values, strict=True))


def _over_seeds(values: np.ndarray, spread: bootstrap.Spread, key: str, seed: int) -> np.ndarray:
    """Draws of the mean over seeds, which vary too where there are several; `values` (1 + draws, seeds).

    Their error is drawn from Student's law with the spread that arms have in common: two or three seeds, drawn with
    replacement, would take few values and vary too little.
    """
    (draws, seeds), every = values.shape, values.mean(axis=1)
    if seeds == 1:
        return every
    generator = np.random.default_rng([seed, crc32(key.encode())])
    errors = np.sqrt(spread.seeds / seeds) * generator.standard_t(spread.freedom, draws)
    return every + np.append(0, errors[1:])


def saved(arm: np.ndarray, control: np.ndarray, items: Sequence[int]) -> tuple[float, bool]:
    """Labelled items that an arm saves, and whether that is a bound: all it can be with the points there are.

    `arm` and `control` are scores at `items` (ascending). Both curves are made to rise, and read off between points on
    the logarithm of items: saved is the number at which the control reaches the score that both reach, less the one at
    which the arm does; negative where the control is ahead; 0 as a bound where both do with the fewest, which tells
    nothing.
    """
    if np.isnan([arm, control]).any():  # a draw in which a point has nothing to score
        return np.nan, False
    curves = [np.maximum.accumulate(scores) for scores in (arm, control)]
    target = min(curve[-1] for curve in curves)
    at_once = [bool(curve[0] >= target) for curve in curves]
    if all(at_once):
        return 0.0, True
    own, other = (_reached(curve, target, items) for curve in curves)
    return other - own, any(at_once)


def _reached(rising: np.ndarray, target: float, items: Sequence[int]) -> float:
    """Items at which a curve reaches a score first."""
    first = int(np.searchsorted(rising, target))
    return float(items[first] if rising[first] == target else np.exp(np.interp(target, rising, np.log(items))))


def worth(points: pd.DataFrame, drawn: Mapping[str, np.ndarray], control: str, confidence: float) -> pd.DataFrame:
    """What each arm's adaptation is worth in labelled items against `control`, a row an arm (`WORTH`).

    `points` and `drawn` from `curve`. `bounded`: the fewest items tried were enough, so that more may be saved. A draw
    of that kind tells how much at least, so that where such draws reach an end of the interval, it has none (infinite);
    one in which they were enough for both sides may lie anywhere.
    """
    rows = []
    for arm in (arm for arm in drawn if arm != control):
        items = points.loc[points["arm"] == arm, "items"].tolist()
        found = [saved(*pair, items) for pair in zip(drawn[arm].T, drawn[control].T, strict=True)]
        low, high = _interval(np.array(found[1:]), confidence)
        row = {"task": points["task"].iloc[0], "arm": arm, "control": control, "items": items[-1]}
        rows.append(row | {"saved": found[0][0], "low": low, "high": high, "bounded": found[0][1]})
    return pd.DataFrame(rows, columns=WORTH)


def _interval(found: np.ndarray, confidence: float) -> tuple[float, float]:
    """Ends of an interval of draws (draws, 2): saved, and whether that is a bound."""
    number, bounded = found[~np.isnan(found[:, 0])].T
    lowest = np.where((bounded > 0) & (number <= 0), -np.inf, number)
    highest = np.where((bounded > 0) & (number >= 0), np.inf, number)
    low = np.quantile(lowest, (1 - confidence) / 2, method="lower")
    return float(low), float(np.quantile(highest, (1 + confidence) / 2, method="higher"))


def measure(folder: Path, wanted: Sequence[Mapping], *, control: str, **how: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The curves of every task with label budgets and what adaptation is worth there: `COLUMNS` and `WORTH`.

    `wanted`: task, shares, arms; `how`: copies, together, draws, confidence and seed, as `curve` has them.
    Without `control` among the arms there is nothing to compare, and no worth.
    """
    curves, found = [], []
    for item in wanted:
        points, drawn = curve(folder, item["task"], item["arms"], item["shares"], **how)
        curves.append(points)
        if control in drawn:
            found.append(worth(points, drawn, control, how["confidence"]))
    return _joined(curves, COLUMNS), _joined(found, WORTH)


def _joined(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
