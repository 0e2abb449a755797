"""What is seen between the sections of a profile, and of its base on disk, before any work."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Any

from common.names import turn
from common.project import RUNS, Mistake, digest
from evidence import testable
from texts import own

MODEL = (".bin", ".json", ".model", ".safetensors", ".txt")  # files of a saved model and its tokenizer


def state(folder: str) -> str:
    """A digest of a base's files: other weights or another tokenizer make stale what was trained from them."""
    try:
        files = sorted(path for path in own.place(folder).glob("*") if path.suffix in MODEL and path.is_file())
        return digest([(path.name, own.content(path, path.stat().st_size, path.stat().st_mtime_ns)) for path in files])
    except OSError as error:
        raise Mistake(f"base.folder: {error.filename}: cannot be read ({error.strerror}); make it readable") from None


def base(profile: Any, base: dict[str, Any], status: dict[str, Any]) -> None:
    """Mistake for a base that cannot be had or used: its positions, their number, its tokenizer.

    `status` is what the last run recorded of the stage that makes it: one that is made is not looked for again.
    """
    made, saved = RUNS / profile.run / status.get("product", ""), ""
    if status.get("parameters", {}).get("base") == base and (file := made.with_name("config.json")).is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
    else:
        from transformers import AutoConfig  # here, as it takes seconds

        from helpers import models

        models.check(base)
        saved = "" if base["architecture"] else base["hub"] or str(own.place(base["folder"]))
        version = base["revision"] or None
        try:
            config = AutoConfig.from_pretrained(saved, revision=version) if saved else models.configuration(base)
        except (OSError, ValueError) as error:
            raise Mistake(f"base: no model at {saved!r}: {str(error).splitlines()[0]}") from None
        found = config.to_dict()
    if found["model_type"] not in ("bert", "modernbert"):  # others, such as RoBERTa, count positions in another way
        raise Mistake(f"base: is of model type {found['model_type']!r}; allowed: bert, modernbert")
    for name in dict.fromkeys(["pretrain", *(task.kind for task in profile.tasks if task.trained)]):
        if (length := getattr(profile, name).length) > (most := found["max_position_embeddings"]):
            raise Mistake(f"profile {profile.name}: {name}.length: {length} is more than the base's {most} positions")
    if saved:
        models.saved_tokenizer(saved, version)


def untestable(profile: Any) -> str:
    """A line for each claim that a run cannot test, and why: it may be hours before 05 says so."""
    rows = testable.claims(profile.model_dump())
    return "".join(f"{row['claim']} cannot be tested by this run: {row['reason']}\n" for row in rows if row["reason"])


def between(profile: Any) -> None:
    """ValueError for values of two sections that do not fit each other."""
    _copies(profile)
    _masks(profile)
    if profile.ner.negatives_per_positive:
        raise ValueError("ner.negatives_per_positive: is of screening; leave it at 0")


def _copies(profile: Any) -> None:
    """ValueError unless the seeds use each copy of an arm that is fine-tuned, one as often as another."""
    for task in (task for task in profile.tasks if task.trained):
        seeds = getattr(profile, task.kind).seeds
        for arm in (arm for arm in profile.arms if arm.name in (task.arms or [arm.name])):
            used = Counter(turn(seed, arm.copies) for seed in seeds)
            if len(used) < arm.copies or len(set(used.values())) > 1:
                what = f"{arm.copies} copies, which {task.kind}.seeds {seeds} do not use equally often on {task.name!r}"
                raise ValueError(f"arms: {arm.name!r} has {what}; allowed: copies: 1, or as many seeds in a row")


def _masks(profile: Any) -> None:
    """ValueError for a masking rate that leaves a row of word pieces nothing to predict, or nothing to predict from."""
    rates = {f"arms: {arm.name!r}: ": arm.masking_rate for arm in profile.arms if arm.masking_rate}
    for where, rate in {"pretrain.": profile.pretrain.masking_rate, **rates}.items():
        masked, most = round(rate * profile.pretrain.length), profile.pretrain.length - 3  # two may be special ones
        if not 1 <= masked <= most:
            raise ValueError(f"{where}masking_rate {rate} masks {masked} pieces of a row; allowed: from 1 to {most}")


def budgets(profile: Any, task: Any, train: Sequence[Any]) -> None:
    """Mistake for a label budget in which a seed has patients of one label only: nothing could be learnt from them."""
    from helpers.finetuning import nested_sample  # here, as it takes seconds

    for share, seed in product(task.shares, profile.screening.seeds):
        if own.labels(nested_sample(train, share, seed)) != {0, 1}:
            what = f"{share:g} of {len(train):,} patients, as seed {seed} draws them, have one label only"
            raise Mistake(f"profile {profile.name}: tasks.{task.name}.shares: {what}; give a larger share")
