"""Numbers of a published run, each with a tolerance, and whether a later run of the same profile reproduced them.

Two runs of one profile differ in the order of additions, on another processor or GPU, and training makes that as large
as a change of seed. So a difference between arms counts as reproduced inside the published one's interval; a mean score
within 3 standard errors of the difference of two such means, s * sqrt(2 / n), s being the standard deviation of the
seeds pooled over the task's arms; a count of documents, and a baseline, which learns nothing at random, as it is.
"""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from helpers.project import ROOT, write_json

FILE = "numbers.json"
PRIMARY = ("f1", "auprc")
ROUNDING = 1e-9


def place(name: str) -> Path:
    """Where the numbers of a run of this name are published."""
    return ROOT / "figures" / name / FILE


def numbers(run: Path) -> list[dict[str, Any]]:
    """What a finished run would publish: name, value, and how far from it a later run's may lie."""
    return [*_counts(run), *_means(run), *_differences(run)]


def _counts(run: Path) -> list[dict[str, Any]]:
    """Documents kept of each part of each corpus."""
    table = pd.read_csv(run / "corpora" / "statistics.csv").query("reason == 'kept'")
    return [
        {"name": f"documents kept, {r.domain} {r.language}, {r.part}", "value": int(r.documents), "tolerance": 0}
        for r in table.itertuples()
    ]


def _means(run: Path) -> list[dict[str, Any]]:
    """Primary scores on test sets: the mean over seeds by task, test set and arm."""
    table = pd.read_csv(run / "results" / "metrics.csv").query("split == 'test' and label == 'all'")
    rows = []
    for (task, test, metric), found in table[table["metric"].isin(PRIMARY)].groupby(
        ["task", "test", "metric"], sort=False
    ):
        by = found.groupby("arm", sort=False)["value"]
        spread = math.sqrt(by.var().mean())  # of the arms with two seeds or more
        for arm, value in by.mean().items():
            seeds = by.size()[arm]
            tolerance = 3 * spread * math.sqrt(2 / seeds) if seeds > 1 else ROUNDING
            name = f"{metric}, {task}{f' on {test}' if test != task else ''}, {arm}"
            rows.append({"name": name, "value": value, "tolerance": tolerance})
    return rows


def _differences(run: Path) -> list[dict[str, Any]]:
    """The comparisons of the claims, as far as they could be made."""
    table = pd.read_csv(run / "results" / "comparisons.csv").dropna(subset=["difference"])
    return [
        {
            "name": f"{r.claim}: {r.metric}, {r.task}{f' on {r.test}' if r.test != r.task else ''}"
            f"{f', {r.mentions} mentions' if r.mentions != 'all' else ''}, {r.arm} less {r.against}",
            "value": r.difference,
            "tolerance": (r.high - r.low) / 2,
        }
        for r in table.itertuples()
    ]


def write(run: Path) -> None:
    """Publish a run's numbers, with the profile and the commit that they were made with."""
    origin = json.loads((run / "provenance.json").read_text(encoding="utf-8"))
    kept = {key: origin[key] for key in ("made", "commit", "device", "profile_sha256")}
    write_json(place(run.name), kept | {"numbers": numbers(run)})


def compare(run: Path, origin: dict[str, Any]) -> dict[str, Any] | None:
    """Each published number of the run's profile beside the run's own; None where none were published.

    Keys: made, commit, device (of the published run), same_profile, rows (name, published, tolerance, value, same) and
    count of those that are the same. A number that the run does not have is None, and not the same.
    """
    if not (file := place(run.name)).is_file():
        return None
    published = json.loads(file.read_text(encoding="utf-8"))
    ours = {row["name"]: row["value"] for row in numbers(run)}
    rows = [row | {"published": row["value"], "value": ours.get(row["name"])} for row in published.pop("numbers")]
    for row in rows:
        row["same"] = row["value"] is not None and abs(row["value"] - row["published"]) <= row["tolerance"] + ROUNDING
    return published | {
        "same_profile": published["profile_sha256"] == origin["profile_sha256"],
        "rows": sorted(rows, key=lambda row: row["same"]),
        "count": sum(row["same"] for row in rows),
    }
