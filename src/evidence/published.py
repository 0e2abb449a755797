"""Numbers of a published run, each with a tolerance, and whether a later run of the same profile reproduced them.

Two runs of one profile differ in the order of additions, on another processor or GPU, and training makes that as large
as a change of seed. With s the standard deviation of the seeds, pooled over a task's arms, the means of n seeds of two
runs differ by s * sqrt(2 / n) (standard error), differences between two arms by sqrt(2) as much, those to a baseline by
no more. The tolerance is that error times Student's t, at a level that is divided by how many such numbers there are
(Bonferroni): of runs that differ as seeds of fine-tuning do, 95 in 100 reproduce every one of them. Fewer do on another
processor or in another precision, for there arms of one copy are pre-trained anew too, and that is in no tolerance. A
count of documents, and a baseline, which learns nothing at random, must be the same.
"""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import t as student

from evidence import baselines
from helpers.names import GROUPS
from helpers.project import ROOT, write_json

FILE = "numbers.json"
PRIMARY, COMPARED = ("f1", "auprc"), ("f1", "auprc", "recall")
SCORE = ["task", "test", "metric", "mentions"]
LEVEL = 0.05
ROUNDING = 1e-9


def place(name: str) -> Path:
    """Where the numbers of a run of this name are published."""
    return ROOT / "figures" / name / FILE


def numbers(run: Path) -> list[dict[str, Any]]:
    """What a finished run would publish: name, value, and how far from it a later run's may lie."""
    values = _by_seed(run / "results")
    spread = {score: _spread(rows) for score, rows in values.groupby(SCORE, sort=False)}
    random = [*_means(values, spread), *_differences(run / "results", spread)]
    count = sum(row["error"] > 0 for row in random)
    for row in random:
        error, freedom = row.pop("error"), row.pop("freedom")
        row["tolerance"] = float(student.ppf(1 - LEVEL / 2 / count, freedom) * error) if error > 0 else ROUNDING
    return [*_counts(run), *random]


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
        name = f"{_named(*score)}, {arm}"
        rows.append({"name": name, "value": float(found.mean()), "error": error, "freedom": freedom})
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
        name = f"{r.claim}: {_named(*score)}, {r.arm} less {r.against}"
        rows.append({"name": name, "value": float(r.difference), "error": error, "freedom": freedom})
    return rows


def _named(task: str, test: str, metric: str, mentions: str) -> str:
    where = task if test == task else f"{task} on {test}"
    return f"{metric}, {where}" + ("" if mentions == "all" else f", {mentions} mentions")


def write(run: Path) -> None:
    """Publish a run's numbers, with the profile and the commit that they were made with."""
    origin = json.loads((run / "provenance.json").read_text(encoding="utf-8"))
    kept = {key: origin[key] for key in ("made", "commit", "device", "profile_sha256")}
    write_json(place(run.name), kept | {"verdicts": _verdicts(run), "numbers": numbers(run)})


def _verdicts(run: Path) -> dict[str, str]:
    """Claim -> verdict."""
    content = json.loads((run / "results" / "claims.json").read_text(encoding="utf-8"))
    return {claim["claim"]: claim["verdict"] for claim in content["claims"]}


def compare(run: Path, origin: dict[str, Any]) -> dict[str, Any] | None:
    """Each published number of the run's profile beside the run's own; None where none were published.

    Keys: made, commit, device (of the published run), same_profile, rows (name, published, tolerance, value, same),
    count of those that are the same, and verdicts (claim, published, found, same). A number or verdict that the run
    does not have is None, and not the same.
    """
    if not (file := place(run.name)).is_file():
        return None
    published = json.loads(file.read_text(encoding="utf-8"))
    ours = {row["name"]: row["value"] for row in numbers(run)}
    verdicts, found = published.pop("verdicts", {}), _verdicts(run)
    rows = [row | {"published": row["value"], "value": ours.get(row["name"])} for row in published.pop("numbers")]
    for row in rows:
        row["same"] = row["value"] is not None and abs(row["value"] - row["published"]) <= row["tolerance"] + ROUNDING
    return published | {
        "same_profile": published["profile_sha256"] == origin["profile_sha256"],
        "rows": sorted(rows, key=lambda row: row["same"]),
        "count": sum(row["same"] for row in rows),
        "verdicts": [
            {"claim": claim, "published": said, "found": found.get(claim), "same": found.get(claim) == said}
            for claim, said in verdicts.items()
        ],
    }
