"""The card that goes with a saved model: what it has read, under which licences, and what it is not for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from texts import sources, tasks

MADE_UP = "**Trained on synthetic text: for learning and testing only.**"
NOT_PUBLIC = (
    "**Trained in a run on texts that are not public. It can repeat what it has read: treat it as you treat them.**"
)
LAST = "A research model: not a medical device."
PASSED_ON = "Whoever passes the model on sees to it that the licences of its texts, and of its base, allow it."


def card(
    folder: Path,
    arm: str,
    parent: str,
    text: Mapping[str, Mapping[str, float]],
    tokens: int,
    base: Mapping[str, Any] | None = None,
    random_weights: bool = False,
    **values: Any,
) -> str:
    """A model card in Markdown, with the head that the hub reads.

    `folder` is the run whose corpora the arm reads, `text` its weights (domain -> language -> weight), `base` where an
    arm without a parent starts; `values` are settings to be told, such as its seed.
    """
    parts = pd.read_csv(folder / "corpora/statistics.csv").query("reason == 'kept'")
    origin = base or {}
    start = f"from `{name}`" if (name := parent or origin.get("hub")) else "from a saved model"
    start = "from scratch" if origin.get("architecture") else start
    warnings = [MADE_UP] * tasks.made_up(folder) + [NOT_PUBLIC] * any(map(sources.is_own, parts["part"]))
    read = [
        f"| {domain} | {language} | {weight:g} | {part} | {_licence(part)} |"
        for domain, languages in text.items()
        for language, weight in languages.items()
        for part in parts.query("domain == @domain and language == @language")["part"]
    ]
    table = ["| text | language | weight | part | licence |", "| --- | --- | --- | --- | --- |", *read]
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())
    paragraphs = [
        "\n".join(_head({lang for languages in text.values() for lang in languages}, origin)),
        f"# {arm}",
        *warnings,
        f"Masked-language model, trained {start} with {tokens:,} word pieces{told and f' ({told})'}."
        if text
        else f"Random weights in the shape of `{parent}`, which have read nothing: a control."
        if random_weights
        else f"The model that others go on from, {start}, as it is.",
        *(["\n".join(table), PASSED_ON] if text else []),
        LAST,
    ]
    return "\n\n".join(paragraphs) + "\n"


def tuned(folder: Path, task: str, arm: str, seed: int) -> str:
    """The card of a fine-tuned model that is kept."""
    spec = tasks.task(folder, task)
    kind = {"ner": "token-classification", "screening": "text-classification"}[spec["kind"]]
    source = "synthetic" if spec["source"] == "synthetic" else f"{spec['source']} ({_licence(spec['source'])})"
    parts = {*pd.read_csv(folder / "corpora/statistics.csv")["part"], spec["source"]}
    warnings = [MADE_UP] * tasks.made_up(folder) + [NOT_PUBLIC] * any(map(sources.is_own, parts))
    head = ["---", f"language: [{spec['language']}]", "license: other", f"pipeline_tag: {kind}", "---"]
    said = f"Fine-tuned from the arm `{arm}` on the training part of `{task}`, {source}, with seed {seed}."
    use = "`reading.json` tells how it reads; `python -m helpers.application` of the compendium applies it."
    paragraphs = ["\n".join(head), f"# {task}, {arm}", *warnings, f"{said} {use}", PASSED_ON, LAST]
    return "\n\n".join(paragraphs) + "\n"


def _head(languages: set[str], base: Mapping[str, Any]) -> list[str]:
    """What the hub reads of a card."""
    known = [f"language: [{', '.join(sorted(languages))}]"] if languages else []
    known += [f"base_model: {base['hub']}"] if base.get("hub") else []
    return ["---", *known, "license: other", "pipeline_tag: fill-mask", "---"]


def _licence(part: str) -> str:
    if part == "synthetic":
        return "that of the compendium"
    if sources.is_own(part):
        return sources.OWN
    listed = sources.catalogue()["parts"]
    ids = [listed[part]["source"]] if part in listed else sources.needed([part])  # a part takes out what others have
    return "; ".join(dict.fromkeys(str(sources.entry("sources", id)["licence"]) for id in ids))
