"""Numbers of a published run, each with a tolerance, and whether a later run of the same profile reproduced them.

Two runs of one profile differ in the order of additions, on another processor or GPU, and training makes that as large
as a change of seed. The tolerance is the standard error of their difference times Student's t, at a level that is
divided by how many such numbers there are (Bonferroni): of runs that differ by chance, 95 in 100 reproduce every one of
them. A count of documents, and a baseline, which learns nothing at random, must be the same.

What chance does is best seen in trainings: runs of the profile with another `pretrain.seed`, added to the first by
`repeat`. With s the standard deviation of a number over n trainings, pooled over the numbers of a score, a further one
differs from their mean by s * sqrt(1 + 1 / n). Arms of one base rise and fall with it, so that the numbers of a score
tell less of s than as many that vary by themselves (`_freedom`). Where there is one training only, s is that of its
seeds, pooled over a task's arms, and means of n seeds differ by s * sqrt(2 / n), differences between two arms by
sqrt(2) as much, those to a baseline by no more. That leaves out the chance of pre-training for arms of one copy, which
another processor changes.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from common.names import GROUPS
from common.project import Mistake, write_json
from evidence import baselines, trainings
from evidence.trainings import SCORE, same_but_seed

PRIMARY, COMPARED = ("f1", "auprc"), ("f1", "auprc", "recall")
LEVEL = 0.05
ROUNDING = 1e-9


def numbers(run: Path) -> list[dict[str, Any]]:
    """What a finished run would publish: name, value, how far from it a later run's may lie; `score`, if random."""
    values = _by_seed(run / "results")
    spread = {score: _spread(rows) for score, rows in values.groupby(SCORE, sort=False)}
    random = [*_means(values, spread), *_differences(run / "results", spread)]
    count = sum(row["error"] > 0 for row in random)
    for row in random:
        error, freedom = row.pop("error"), row.pop("freedom")
        row["tolerance"] = _tolerance(error, freedom, count) if error > 0 else ROUNDING
    return [*_counts(run), *random]


def _tolerance(error: float, freedom: float, count: int) -> float:
    """How far a run may be from one of `count` published numbers; `error`: the standard error of that difference."""
    return float(student.ppf(1 - LEVEL / 2 / count, freedom) * error)


def _counts(run: Path) -> list[dict[str, Any]]:
    """Documents kept of each part of each corpus."""
    table = pd.read_csv(run / "corpora" / "statistics.csv").query("reason == 'kept'")
    return [
        {"name": f"documents kept, {r.domain} {r.language}, {r.part}", "value": int(r.documents), "tolerance": 0}
        for r in table.itertuples()
    ]


def _by_seed(results: Path) -> pd.DataFrame:
    """Test scores (`SCORE`, arm, seed, value): of all mentions, and recall of seen and of unseen ones."""
    scores = pd.read_csv(results / "metrics.csv").query("split == 'test' and label == 'all' and metric in @COMPARED")
    table = pd.read_csv(results / "mentions.csv").assign(metric="recall")
    table["mentions"] = table["group"].eq(GROUPS[0]).map({True: "seen", False: "unseen"})
    recalls = table.groupby([*SCORE, "arm", "seed"], sort=False)[["gold", "found"]].sum()
    recalls = recalls.assign(value=lambda n: n["found"] / n["gold"]).reset_index()
    return pd.concat([part[[*SCORE, "arm", "seed", "value"]] for part in (scores.assign(mentions="all"), recalls)])


def _spread(rows: pd.DataFrame) -> tuple[float, int]:
    """Standard deviation of the seeds, pooled over the arms that have several, and its degrees of freedom."""
    by = rows.groupby("arm")["value"]
    freedom = int((by.size() - 1).sum())
    return (math.sqrt(float((by.var() * (by.size() - 1)).sum()) / freedom), freedom) if freedom else (0.0, 0)


def _means(values: pd.DataFrame, spread: dict[Any, tuple[float, int]]) -> list[dict[str, Any]]:
    """The primary scores: the mean over seeds by task, test set and arm."""
    rows = []
    shown = values[(values["mentions"] == "all") & values["metric"].isin(PRIMARY)]
    for (*score, arm), found in shown.groupby([*SCORE, "arm"], sort=False)["value"]:
        sd, freedom = spread[tuple(score)]
        error = sd * math.sqrt(2 / len(found)) if len(found) > 1 else 0.0
        name = f"{trainings.score(*score)}, {arm}"
        known = {"name": name} | ({} if arm in baselines.NAMES else {"score": trainings.score(*score)})
        rows.append(known | {"value": float(found.mean())} | {"error": error, "freedom": freedom})
    return rows


def _differences(results: Path, spread: dict[Any, tuple[float, int]]) -> list[dict[str, Any]]:
    """The comparisons of the claims, as far as they could be made, and as seeds say how far they may be off."""
    rows = []
    for r in pd.read_csv(results / "comparisons.csv").dropna(subset=["difference"]).itertuples():
        if (score := (r.task, r.test, r.metric, r.mentions)) not in spread:  # seen and unseen mentions of other tasks
            continue
        sd, freedom = spread[score]
        arms = 1 if r.against in baselines.NAMES else 2
        error = sd * math.sqrt(2 / r.seeds) * math.sqrt(arms)
        named = {"score": "difference, " * (arms - 1) + trainings.score(*score), "value": float(r.difference)}
        rows.append({"name": trainings.compared(r._asdict()), **named, "error": error, "freedom": freedom})
    return rows


def write(run: Path) -> None:
    """Publish a run's numbers, with the profile that they were made with; further trainings of that profile stay."""
    origin, before, rows = _origin(run), trainings.read(run.name), numbers(run)
    first = _training(run, origin)
    same = before and same_but_seed(origin["profile"], before) and before["trainings"][0]["seed"] == first["seed"]
    same = same and _fixed(before["numbers"]) == _fixed(rows)  # if not, the code has changed what all trainings come to
    again = {row["name"]: row["again"] for row in before["numbers"] if "again" in row} if same else {}
    rows = [row | {"again": again[row["name"]]} if row["name"] in again else row for row in rows]
    _set_tolerances([row for row in rows if "again" in row])
    made = [first, *(before["trainings"][1:] if same else [])]
    profile = trainings.digest_of(origin["profile"])
    write_json(trainings.place(run.name), {"profile_sha256": profile, "trainings": made, "numbers": rows})


def repeat(run: Path) -> None:
    """Add a run to the published ones of its profile, as one more training; tolerances are then over all of them.

    Mistake where `trainings.unrepeatable` says why not, or a number that chance does not reach is another.
    """
    origin, published = _origin(run), trainings.read(run.name)
    if reason := trainings.unrepeatable(run.name, origin["profile"]):
        raise Mistake(reason)
    ours = {row["name"]: row["value"] for row in numbers(run)}
    for row in published["numbers"]:
        there = ours.get(row["name"])
        if there is None or not ("score" in row or abs(there - row["value"]) <= ROUNDING):
            raise Mistake(f"{row['name']}: {row['value']} is published, this run has {there}; publish the run anew")
        if "score" in row:
            row["again"] = [*row.get("again", []), there]
    _set_tolerances([row for row in published["numbers"] if "again" in row])
    write_json(trainings.place(run.name), published | {"trainings": [*published["trainings"], _training(run, origin)]})


def _fixed(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The numbers that no chance reaches."""
    return {row["name"]: round(row["value"], 8) for row in rows if "score" not in row}


def _is_score(row: dict[str, Any]) -> bool:
    return "score" in row and trainings.LESS not in row["name"]


def _set_tolerances(rows: list[dict[str, Any]]) -> None:
    """Mean and tolerance of numbers, from their values over trainings; a score's numbers pool their spread."""
    by_score: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_score.setdefault(row["score"], []).append(row)
    for group in by_score.values():
        values = np.array([[row["value"], *row["again"]] for row in group])
        freedom = _freedom(values)
        error = math.sqrt(float(values.var(axis=1, ddof=1).mean()) * (1 + 1 / values.shape[1]))
        for row, mean in zip(group, values.mean(axis=1), strict=True):
            row |= {"mean": float(mean), "tolerance": _tolerance(error, freedom, len(rows))}


def _freedom(values: np.ndarray) -> float:
    """Degrees of freedom of the mean variance of numbers (numbers, trainings) that vary together (Satterthwaite 1946).

    (n - 1) (tr S)² / tr S² with their covariance S: n - 1 where all move as one, the more the less they do. S of few
    trainings shows more of that than there is, so that this is too small rather than too large.
    """
    covariance = np.atleast_2d(np.cov(values))
    together = np.sum(covariance**2)
    return float((values.shape[1] - 1) * (np.trace(covariance) ** 2 / together if together else 1))


def _origin(run: Path) -> dict[str, Any]:
    return json.loads((run / "provenance.json").read_text(encoding="utf-8"))


def _training(run: Path, origin: dict[str, Any]) -> dict[str, Any]:
    """Where one training comes from, and its verdicts."""
    kept = {key: origin[key] for key in ("made", "commit", "device")}
    return kept | {"seed": origin["profile"]["pretrain"]["seed"], "verdicts": _verdicts(run)}


def _verdicts(run: Path) -> dict[str, str]:
    """Claim -> verdict."""
    content = json.loads((run / "results" / "claims.json").read_text(encoding="utf-8"))
    return {claim["claim"]: claim["verdict"] for claim in content["claims"]}


def compare(run: Path, origin: dict[str, Any]) -> dict[str, Any] | None:
    """Each published number of the run's profile beside the run's own; None where none were published.

    Keys: made, commit, device, seed (of the published run), same_profile (but for that seed), trainings (how many),
    rows (name, published, again: those of further trainings, mean of all, tolerance, value, same), count of those that
    are the same, wide (of how many the tolerance is more than half), blind (how many scores would pass as 0), verdicts
    (claim, published, found, same, and trainings: `trainings.over`). A number or verdict that the run lacks is None,
    and not the same.
    """
    if not (published := trainings.read(run.name)):
        return None
    ours = {row["name"]: row["value"] for row in numbers(run)}
    found, made = _verdicts(run), published["trainings"]
    over = trainings.over(published)
    rows = [row | {"published": row["value"], "value": ours.get(row["name"])} for row in published["numbers"]]
    for row in rows:
        centre = row.get("mean", row["published"])
        row["same"] = row["value"] is not None and abs(row["value"] - centre) <= row["tolerance"] + ROUNDING
    return made[0] | {
        "same_profile": same_but_seed(origin["profile"], published),
        "trainings": len(made),
        "rows": sorted(rows, key=lambda row: row["same"]),
        "count": sum(row["same"] for row in rows),
        "blind": sum(row["tolerance"] >= row.get("mean", row["published"]) for row in rows if _is_score(row)),
        "wide": sum(row["tolerance"] > abs(row.get("mean", row["published"])) / 2 for row in rows),
        "verdicts": [
            {
                "claim": claim,
                "published": said,
                "found": found.get(claim),
                "same": found.get(claim) == said,
                "trainings": over.get(claim, ""),
            }
            for claim, said in made[0]["verdicts"].items()
        ],
    }
