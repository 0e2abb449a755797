"""The page that a person opens first, report.html, and provenance.json: both made from a finished run's folder."""

import base64
import csv
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from common.names import shown, shown_p
from common.project import ROOT, digest, write_atomically, write_json
from evidence.baselines import NAMES as BASELINES
from runner import provenance, stages

TEMPLATE = Path(__file__).with_name("report.html.j2")
# Their code is imported when the page is made only: Snakemake reads this module at every start.
MADE_BY = (
    *(ROOT / f"src/evidence/{name}.py" for name in ("cards", "limitations", "published", "sentences", "trainings")),
    Path(__file__).with_name("paper.py"),
    ROOT / "paper/paper.typ",
    TEMPLATE,
    Path(__file__),
    Path(provenance.__file__),
)
FIGURES = {  # what figures are called, by the beginning of their file's name, in the order of the page
    "scores": "Scores",
    "differences": "Differences",
    "labels": "Fewer labels",
    "heldout": "Held-out loss",
    "mentions": "Seen and unseen mentions",
    "transfer": "Transfer",
    "overlap": "Words in common",
    "ranking": "Ranking of patients",
    "calibration": "Calibration",
}
PRIMARY = ("f1", "auprc")  # the primary metric of NER and of screening
DOWNLOADS = (
    "results/*.csv",
    "results/*.json",
    "corpora/*.csv",
    "figures/*.svg",
    "figures/*.pdf",
    "paper/*.pdf",
    "finetuned/*/*/README.md",
    "provenance.json",
)


def key(plan: dict[str, Any]) -> str:
    """Staleness key of the report: the profile, the code that makes the page, and the numbers it compares with."""
    compared = (ROOT / "figures" / plan["run"] / "numbers.json", ROOT / "benchmarks" / "results" / "intervals.json")
    read = (*MADE_BY, *(file for file in compared if file.is_file()))
    text = plan["profile_sha256"].encode() + b"".join(file.read_bytes() for file in read)
    return digest(text)[:16]


def read_claims(folder: Path) -> list[dict[str, Any]]:
    """The claims of claims.json, each with its rows of comparisons.csv; an empty list where the run has none."""
    if not (folder / "claims.json").is_file():
        return []
    claims = json.loads((folder / "claims.json").read_text(encoding="utf-8"))["claims"]
    rows: list[dict[str, str]] = []
    if (folder / "comparisons.csv").is_file():
        with (folder / "comparisons.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    return [claim | {"comparisons": [row for row in rows if row["claim"] == claim["claim"]]} for claim in claims]


def _named(path: Path) -> tuple[int, str]:
    """Where a figure stands after the order of `FIGURES`, and what it is called, with its task where it has one."""
    kind, _, task = path.stem.partition("_")
    if kind not in FIGURES:
        return len(FIGURES), path.stem
    more = f": {shown(task)}" if kind in ("ranking", "calibration") else ""
    return list(FIGURES).index(kind), FIGURES[kind] + more


def read_figures(folder: Path) -> list[dict[str, str]]:
    """Each PNG of the run as a data URL with its caption (the text file beside it) and title."""
    return [
        {
            "title": _named(path)[1],
            "caption": path.with_suffix(".txt").read_text(encoding="utf-8").strip(),
            "url": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode(),
        }
        for path in sorted(folder.glob("*.png"), key=_named)
    ]


def key_results(metrics: Path) -> dict[str, Any]:
    """The primary metrics by task and test (rows) and arm (columns): mean and spread over seeds.

    The baselines share the first column: a task has one of them.
    """
    values: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    arms: dict[str, None] = {"baseline": None}
    with metrics.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["metric"] in PRIMARY and row["label"] == "all" and row["split"] == "test" and row["value"]:
                arm = "baseline" if row["arm"] in BASELINES else row["arm"]
                values[row["task"], row["test"], row["language"], row["metric"]][arm].append(float(row["value"]))
                arms[arm] = None
    ranked = {task for task, _, _, metric in values if metric == "auprc"}
    rows = []
    for (task, test, language, metric), by_arm in values.items():
        if task in ranked and metric != "auprc":
            continue
        cells = [_cell(by_arm.get(arm, [])) for arm in arms]
        name = task if task == test else f"{task} on {test}"
        rows.append({"name": name, "zero_shot": task != test, "language": language, "metric": metric, "cells": cells})
    return {"arms": list(arms), "rows": sorted(rows, key=lambda row: row["zero_shot"])}


def _cell(found: list[float]) -> dict[str, Any]:
    """One cell: mean and spread of the seeds, or a dash."""
    if not found:
        return {"mean": "–", "spread": ""}
    spread = f"± {statistics.stdev(found):.3f}" if len(found) > 1 else ""
    return {"mean": f"{statistics.fmean(found):.3f}", "spread": spread}


def duration(seconds: float | None) -> str:
    """Seconds as a person says them."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def number(value: Any, form: str = "+.3f") -> str:
    """A number, or one read from a table; a dash where there is none (empty, null, nan)."""
    known = value not in (None, "") and float(value) == float(value)
    return format(float(value), form) if known else "–"


def plain(value: float | None) -> str:
    """A count as it is, a score with four digits; a dash where there is none."""
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def render(run: Path, origin: dict[str, Any]) -> str:
    """The page as HTML; everything it shows is inside it, links lead to files of the run's folder."""
    import jinja2
    import pandas as pd

    from evidence import cards, limitations, published, sentences

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.Undefined)
    environment.filters |= {"duration": duration, "number": number, "plain": plain, "p": shown_p}
    metrics, plan = run / "results" / "metrics.csv", stages.read_plan(run / "plan.json")
    arms, built = plan["profile"].get("arms", []), (run / "corpora" / "words.csv").is_file()
    read = cards.models(run / "models", arms) if built else []
    claims = [
        c | {"read": cards.read_by(read, c["comparisons"]), "left_out": sentences.left_out(c)}
        for c in read_claims(run / "results")
    ]
    scores = pd.read_csv(metrics) if metrics.is_file() else None
    learnt = [arm["name"] for arm in arms if not arm["random_weights"]]
    beside = [] if scores is None else [sentences.below_baseline(scores), sentences.beside_random(scores, learnt)]
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        plan=plan,
        origin=origin,
        paper="paper/paper.pdf" if (run / "paper" / "paper.pdf").is_file() else "",
        published=published.compare(run, origin) if (run / "results" / "comparisons.csv").is_file() else None,
        claims=claims,
        unfinished=limitations.cut_short(run, plan["profile"], least=limitations.MOST) if built else "",
        below=" ".join(filter(None, beside)),
        figures=read_figures(run / "figures"),
        results=key_results(metrics) if metrics.is_file() else {"arms": [], "rows": []},
        corpora=cards.corpora(run / "corpora") if built else [],
        leaks=cards.leaks(run / "corpora") if built else {"count": 0, "rows": []},
        arms=read,
        pages={path.stem for path in (run / "notebooks").glob("*.html")},
        downloads=[str(file.relative_to(run)) for glob in DOWNLOADS for file in sorted(run.glob(glob))],
    )


def main(run: Path) -> None:
    """Write provenance.json, the paper (of a run that compares) and report.html of a run's folder."""
    origin = provenance.collect(run)
    write_json(run / "provenance.json", origin)
    if (run / "results" / "comparisons.csv").is_file():
        from runner import paper

        paper.build(run)
    write_atomically(run / "report.html", render(run, origin))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
