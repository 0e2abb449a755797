"""What a run cannot show, read off what it has, a sentence each."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from common.names import shown, shown_corpus
from evidence import sentences
from texts import sources

FEW, MOST = 50, 0.5  # dev patients with the condition; share of the fits
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
    learnt = [arm for arm in profile["arms"] if not arm["random_weights"]]
    counts = {arm["tokens"] for arm in learnt if arm["parent"]}
    kinds = {task["kind"] for task in profile["tasks"]}
    said = [*MADE_UP] if plan["synthetic"] else []
    beside = sentences.below_baseline(metrics), sentences.beside_random(metrics, [arm["name"] for arm in learnt])
    said += filter(None, [*beside, *more])
    if missing:
        said.append(f"There is no text for: {'; '.join(missing)}. Arms differ only where they have text of their own.")
    if "screening" not in kinds:
        said.append("There is no screening task: labelled clinical notes in Dutch are not public, and none were given.")
    real = [task for task in profile["tasks"] if task["source"] != "synthetic"]
    cut = [f"{t['documents']['train']} of {shown(t['name'])}" for t in real if "train" in t["documents"]]
    if cut:
        said.append(f"For the time it takes, models learn from the first documents only: {', '.join(cut)}.")
    once = [shown(arm["name"]) for arm in learnt if arm["copies"] == 1]
    if len(once) == len(learnt):
        said.append("Every arm is pre-trained once: what another pre-training seed would change is in no interval.")
    elif once:
        said.append(f"Pre-trained once, so that another pre-training seed is in no interval: {', '.join(once)}.")
    from_scratch = profile["base"]["architecture"] and profile["arms"][0]["copies"] == 1
    if len(once) < len(learnt) and from_scratch:
        said.append("All copies go on from one base, trained here: what another base would change is in no interval.")
    if len(counts) > 1:
        said.append(f"Arms read unequal amounts: {', '.join(f'{count:,}' for count in sorted(counts))} word pieces.")
    tokens = max(counts, default=0)
    said.append(f"An arm reads {tokens:,} word pieces, little beside what published models read.")
    names = {"ner": "entities", "screening": "screening"}
    seeds = [f"{len(profile[kind]['seeds'])} for {name}" for kind, name in names.items() if kind in kinds]
    said.append(f"Fine-tuning seeds an arm: {' and '.join(seeds)}. All arms are taken to vary alike over them.")
    return said


def of_one_source(profile: dict[str, Any]) -> str:
    """On medical text that comes from where a task of its language does."""
    known, said = sources.catalogue(), []
    medical = [by.items() for domain, by in profile["corpora"].items() if domain != "general"]
    read = [(language, part) for corpora in medical for language, parts in corpora for part in parts]
    for (language, part), task in product(dict.fromkeys(read), profile["tasks"]):
        listed = known["parts"].get(part)  # not of synthetic text, nor of own files
        if not listed or task["language"] != language or task["source"] not in known["tasks"]:
            continue
        if listed["source"] in sources.needed([task["source"]]):
            own = " (its training texts)" * (listed.get("task") == task["source"])
            said.append(f"{part} with {shown(task['name'])}{own}")
    what = "Medical text and a task come from one source, so that adaptation is to the task's own kind of text"
    return f"{what}: {', '.join(said)}." if said else ""


def few_positives(run: Path, profile: dict[str, Any]) -> str:
    """On tasks of screening in which much is chosen on few dev patients with the condition; reads corpora/tasks.csv."""
    kinds = {task["name"]: task["kind"] for task in profile["tasks"] if task["trained"]}
    dev = pd.read_csv(run / "corpora" / "tasks.csv").query("part == 'dev'")
    few = [(row.task, row.gold) for row in dev.itertuples() if kinds.get(row.task) == "screening" and row.gold < FEW]
    what = (
        "The epoch, how windows are pooled, calibration and threshold are chosen on few dev patients with the condition"
    )
    return f"{what}: {', '.join(f'{count} in {shown(task)}' for task, count in few)}." if few else ""


def cut_short(run: Path, profile: dict[str, Any], least: float = 0) -> str:
    """On fits whose best look at dev was the last one that `epochs` allows; empty if no more than a share `least` are.

    Read from the fits.csv of each task.
    """
    last = every = 0
    for task in profile["tasks"]:
        if (listed := run / "predictions" / task["name"] / "fits.csv").is_file():
            best = pd.read_csv(listed)["best_look"].dropna()
            last, every = last + int((best == profile[task["kind"]]["epochs"]).sum()), every + len(best)
    if last <= least * every:
        return ""
    told = "longer fine-tuning may set arms apart otherwise"
    return f"In {last} of {every} fits the last look at dev was the best: {told}."
