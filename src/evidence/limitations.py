"""What a run cannot show, read off what it has, a sentence each."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from common.names import shown, shown_corpus
from evidence import sentences, trainings

MADE_UP = [
    "At least part of the text is synthetic: the numbers show the method and are no evidence.",
    "The grammar of clinical text writes the tasks' notes, too, which favours clinical arms (C2). What tasks hold back "
    "stands in medical text by construction (C1, C4), and how much is read and labelled was chosen so that it shows.",
]


def of_run(plan: dict[str, Any], statistics: pd.DataFrame, metrics: pd.DataFrame, more: Sequence[str]) -> list[str]:
    """What the run cannot show, read off what it has; `more`: sentences on its models and fits, none where empty."""
    profile = plan["profile"]
    there = set(zip(statistics["domain"], statistics["language"], strict=True))
    every = product(*(statistics[of].unique() for of in ("domain", "language")))
    missing = [shown_corpus("-".join(pair)) for pair in every if pair not in there]
    counts = {arm["tokens"] for arm in profile["arms"] if arm["parent"]}
    kinds = {task["kind"] for task in profile["tasks"]}
    said = [*MADE_UP] if plan["synthetic"] else []
    if missing:
        said.append(f"There is no text for: {'; '.join(missing)}. Arms differ only where they have text of their own.")
    if "screening" not in kinds:
        said.append("There is no screening task: labelled clinical notes in Dutch are not public, and none were given.")
    real = [task for task in profile["tasks"] if task["source"] != "synthetic"]
    cut = [f"{t['documents']['train']} of {shown(t['name'])}" for t in real if "train" in t["documents"]]
    if cut:
        said.append(f"For the time it takes, models learn from the first documents only: {', '.join(cut)}.")
    once = [shown(arm["name"]) for arm in profile["arms"] if arm["copies"] == 1]
    if len(once) == len(profile["arms"]):
        said.append("Every arm is pre-trained once: what another pre-training seed would change is in no interval.")
    elif once:
        said.append(f"Pre-trained once, so that another pre-training seed is in no interval: {', '.join(once)}.")
    from_scratch = profile["base"]["architecture"] and profile["arms"][0]["copies"] == 1
    if len(once) < len(profile["arms"]) and from_scratch:
        said.append("All copies go on from one base, trained here: what another base would change is in no interval.")
    if anew := trainings.verdicts(profile["name"], profile):
        verdicts = (f"{claim} {', '.join(f'{v} in {n}' for v, n in by.items())}" for claim, by in anew.items())
        said.append(f"Published runs that differ in the seeds of pre-training alone came to: {'; '.join(verdicts)}.")
    if len(counts) > 1:
        said.append(f"Arms read unequal amounts: {', '.join(f'{count:,}' for count in sorted(counts))} word pieces.")
    tokens = max(counts, default=0)
    said.append(f"An arm reads {tokens:,} word pieces, little beside what published models read.")
    said += filter(None, more)
    names = {"ner": "entities", "screening": "screening"}
    seeds = [f"{len(profile[kind]['seeds'])} for {name}" for kind, name in names.items() if kind in kinds]
    said.append(f"Fine-tuning seeds an arm: {' and '.join(seeds)}. All arms are taken to vary alike over them.")
    if below := sentences.below_baseline(metrics):
        said.append(below)
    return said


def cut_short(run: Path, profile: dict[str, Any]) -> str:
    """On fits whose best look at dev was the last one that `epochs` allows; read from the fits.csv of each task."""
    last = every = 0
    for task in profile["tasks"]:
        if (listed := run / "predictions" / task["name"] / "fits.csv").is_file():
            best = pd.read_csv(listed)["best_look"].dropna()
            last, every = last + int((best == profile[task["kind"]]["epochs"]).sum()), every + len(best)
    if not last:
        return ""
    return f"In {last} of {every} fits the last look at dev was the best: with more epochs arms may differ otherwise."
