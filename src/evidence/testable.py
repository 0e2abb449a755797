"""Which of the declared comparisons a run can make, with the tasks, arms, texts and seeds that its profile has."""

from collections.abc import Mapping, Sequence
from typing import Any

from common.names import METRICS
from evidence import baselines, fairness

Values = Mapping[str, Any]  # of a profile by section, or of a comparison by name


def lacking(profile: Values, item: Values) -> str:
    """Why a comparison cannot be made: a name that the profile lacks, or what does not fit its task; else empty."""
    tasks, arms = {task["name"]: task for task in profile["tasks"]}, [arm["name"] for arm in profile["arms"]]
    for what, value, there in (
        ("trained task", item["task"], [name for name, task in tasks.items() if task["trained"]]),
        ("task", item["test"] or item["task"], tasks),
        ("arm", item["arm"], arms),
        ("arm", item["against"], [*arms, *baselines.NAMES]),
    ):
        if value not in there:
            return f"the profile has no {what} {value!r} (it has {', '.join(there)})"
    task = tasks[item["task"]]
    for arm in (item["arm"], item["against"]):
        if task["arms"] and arm in arms and arm not in task["arms"]:
            return f"arm {arm!r} is not fine-tuned on task {item['task']!r} (only {', '.join(task['arms'])})"
    return _unfit(item, task, tasks[item["test"] or item["task"]])


def _unfit(item: Values, task: Values, test: Values) -> str:
    """Why a comparison does not fit the kinds and labels of its task and test, or empty."""
    kind, baseline = task["kind"], baselines.of_task(task["kind"], task["source"])
    if item["metric"] not in (metrics := METRICS[kind]):
        return f"metric {item['metric']!r} does not fit {kind} task {task['name']!r}; allowed: {', '.join(metrics)}"
    if item["against"] in baselines.NAMES and item["against"] != baseline:
        told = f"does not fit {kind} task {task['name']!r}; allowed: {baseline}, or an arm"
        return f"against {item['against']!r} {told}"
    if kind == "screening" and test != task:
        return f"screening task {task['name']!r} is tested on itself only, found test {test['name']!r}"
    shared = test == task or {*task["common"].values()} & {*test["common"].values()}
    return "" if shared else f"tasks {task['name']!r} and {test['name']!r} have no label in common"


def reason(profile: Values, item: Values) -> str:
    """Why a comparison cannot say anything about its claim with a profile's tasks, arms, texts and seeds, or empty."""
    if told := lacking(profile, item):
        return told
    task = next(task for task in profile["tasks"] if task["name"] == item["task"])
    if len(profile[task["kind"]]["seeds"]) < 2:
        return f"{task['kind']}.seeds has one seed, at least 2 are needed"
    for name in (item["arm"], item["against"]) if profile["claims"]["stated"][item["claim"]]["own_language"] else ():
        read = _read(profile["arms"], name)
        medical = {language for domain, languages in read.items() if domain != "general" for language in languages}
        if set(read) - {"general"} and task["language"] not in medical:
            language = f"{task['language']}, the language of task {task['name']!r}"
            return f"arm {name!r} has read no medical text in {language}"
    return fairness.unequal(profile["arms"], profile["pretrain"], item["arm"], item["against"])


def _read(arms: list[dict[str, Any]], name: str) -> dict[str, set[str]]:
    """Domain -> languages of the text that an arm and the arms before it have read."""
    found: dict[str, set[str]] = {}
    by = {arm["name"]: arm for arm in arms}
    while name in by:
        for domain, languages in by[name]["text"].items() if by[name]["tokens"] else ():
            found.setdefault(domain, set()).update(languages)
        name = by[name]["parent"]
    return found


def claims(profile: Values) -> list[dict[str, Any]]:
    """Each claim with its text, its number of comparisons, and why it cannot be tested, or empty: a row each."""
    rows = []
    for claim, stated in profile["claims"]["stated"].items():
        items = [item for item in profile["claims"]["family"] if item["claim"] == claim]
        why = of_claim([(item["task"], item["arm"], reason(profile, item)) for item in items])
        rows.append({"claim": claim, "text": stated["text"], "comparisons": len(items), "reason": why})
    return rows


def of_claim(comparisons: Sequence[tuple[str, str, str]]) -> str:
    """Why a claim cannot be tested that rests on comparisons, given as (task, arm, why it cannot be made), or empty."""
    if not comparisons:
        return "the profile declares no comparison for it"
    return next((f"{task}, {arm}: {why}" for task, arm, why in comparisons if why), "")
