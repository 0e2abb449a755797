"""Published trainings of a profile: where they are kept, and which run is one more of them."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from common.project import ROOT, Mistake, digest

FILE = "numbers.json"
SCORE = ["task", "test", "metric", "mentions"]  # what tells scores apart, but for whose they are
LESS = " less "  # in the name of every difference, and of no other number
DIGITS = 4  # of a difference that is drawn
CONFIDENCE = 0.95  # of an interval over trainings


def place(name: str) -> Path:
    """Where the numbers of a run of this name are published."""
    return ROOT / "figures" / name / FILE


def read(name: str) -> dict[str, Any]:
    """What is published of the runs of this name, as `published.write` left it; empty where nothing is."""
    try:
        return json.loads(place(name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Mistake(f"figures/{name}/{FILE}: is damaged ({error}); take it from git, or delete it") from None


def unrepeatable(name: str, profile: dict[str, Any]) -> str:
    """Why a run with these values of a profile is no further training of what is published; empty if it is."""
    if not (published := read(name)):
        return f"nothing is published in figures/{name}/{FILE}; publish a run first"
    seeds = [training["seed"] for training in published["trainings"]]
    if not same_but_seed(profile, published):
        return "the profile is not the published one; change nothing but pretrain.seed, or publish a run of it first"
    copies = max(arm["copies"] for arm in profile["arms"])
    if near := [seed for seed in seeds if abs(seed - profile["pretrain"]["seed"]) < copies]:
        free = f"{max(seeds) + copies} or more"
        return f"pretrain.seed {profile['pretrain']['seed']} shares seeds with the published {near[0]}; use {free}"
    return ""


def same_but_seed(profile: dict[str, Any], published: dict[str, Any]) -> bool:
    """Whether a profile is the published one, whatever its `pretrain.seed`."""
    pretrain = profile["pretrain"] | {"seed": published["trainings"][0]["seed"]}
    return digest_of(profile | {"pretrain": pretrain}) == published["profile_sha256"]


def digest_of(profile: dict[str, Any]) -> str:
    """Of what can change the numbers: not where and how fast they are made, what is kept, or what is said of it."""
    told = {key: value for key, value in profile.items() if key not in ("compute", "cluster", "figures", "description")}
    told["claims"] = {key: value for key, value in profile["claims"].items() if key not in ("stated", "rule")}
    tasks = [{key: value for key, value in task.items() if key != "keep"} for task in profile["tasks"]]
    return digest(told | {"tasks": tasks})


def verdicts(name: str, profile: dict[str, Any]) -> dict[str, str]:
    """`over` of the published trainings of a profile; empty where there are not several."""
    published = read(name)
    return over(published) if published and same_but_seed(profile, published) else {}


def counted(trainings: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Claim -> verdict -> in how many of some trainings."""
    return {
        claim: dict(Counter(training["verdicts"].get(claim) for training in trainings))
        for claim in trainings[0]["verdicts"]
    }


def over(published: dict[str, Any]) -> dict[str, str]:
    """Claim -> its verdicts in several published trainings, and its mean difference over them, in words; or empty.

    The interval is Student's, with each training as one observation: what pre-training anew changes is in it, as no
    interval of a single training has it.
    """
    trainings = published["trainings"]
    if len(trainings) < 2:
        return {}
    by: dict[str, list[list[float]]] = {}
    for row in published["numbers"]:
        if LESS in row["name"] and len(values := [row["value"], *row.get("again", [])]) == len(trainings):
            by.setdefault(row["name"].partition(":")[0], []).append(values)
    told = {}
    for claim, counts in counted(trainings).items():
        told[claim] = ", ".join(f"{verdict} in {count}" for verdict, count in counts.items())
        if claim in by and "not testable here" not in counts:
            low, mean, high = _interval([fmean(each) for each in zip(*by[claim], strict=True)])
            told[claim] += f" (mean {mean:+.3f}, interval over them {low:+.3f} to {high:+.3f})"
    return told


def _interval(values: list[float]) -> tuple[float, float, float]:
    """Mean of some values between the ends of its interval."""
    from scipy.stats import t as student  # here, as it takes seconds

    mean, error = fmean(values), stdev(values) / len(values) ** 0.5
    reach = float(student.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)) * error
    return mean - reach, mean, mean + reach


def compared(row: Mapping[str, Any]) -> str:
    """The name that the difference of a comparison, with `test`, is published by."""
    return f"{row['claim']}: {score(*(row[key] for key in SCORE))}, {row['arm']}{LESS}{row['against']}"


def score(task: str, test: str, metric: str, mentions: str) -> str:
    """The name of a score."""
    where = task if test == task else f"{task} on {test}"
    return f"{metric}, {where}" + ("" if mentions == "all" else f", {mentions} mentions")


def elsewhere(name: str, profile: dict[str, Any]) -> dict[str, list[float]]:
    """Differences by `compared` in the published trainings of a profile that have other seeds than it; or empty."""
    published = read(name)
    if not published or not same_but_seed(profile, published):
        return {}
    seeds = [training["seed"] for training in published["trainings"]]
    if not (other := [at for at, seed in enumerate(seeds) if seed != profile["pretrain"]["seed"]]):
        return {}
    by = {row["name"]: [row["value"], *row.get("again", [])] for row in published["numbers"] if LESS in row["name"]}
    return {name: [round(values[at], DIGITS) for at in other if at < len(values)] for name, values in by.items()}
