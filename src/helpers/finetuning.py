"""Fits: every arm and seed fine-tuned on one task, its predictions kept a row an item, finished fits never redone."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from transformers import AutoTokenizer

from common import devices
from common.names import model_name
from common.project import Mistake, code_digest, digest, file_digest, write_atomically, write_table
from engine import checkpoints, processes, training, windows
from evidence import baselines, scores, tables
from evidence.scores import best_threshold, calibrated, calibration
from helpers import application, heads, model_cards, models, ner, screening
from texts import synthetic
from texts.documents import PARTS, Document, Patient, Span
from texts.tasks import split, task

_OTHERS = (baselines, checkpoints, devices, heads, models, ner, processes, scores, screening, synthetic, tables)
CODE = (*_OTHERS, training, windows, sys.modules[__name__])


def all_fits(
    folder: Path,
    name: str,
    arms: Sequence[str],
    seeds: Sequence[int],
    copies: Mapping[str, int],
    keep: Sequence[str] = (),
    **values: Any,
) -> pd.DataFrame:
    """Make the fits of a task that are missing, with all items the baseline too; one row a fit, also in fits.csv.

    `copies`: pre-training copies of an arm where there are several; seeds use them in turn. `keep`: arms whose model of
    the first seed is kept below finetuned/, for new texts (`application`). `values` are tests, share (of
    the training items), length, overlap, epochs, patience, batch_rows, learning_rate, warmup_share,
    negatives_per_positive, and `training.SPEED`; `compiled` does nothing here, where batches differ in length.
    """
    wanted = starts(arms, seeds, copies)
    if not wanted:
        raise Mistake(f"{name}: {len(arms)} arms and {len(seeds)} seeds make no fit; give at least one of each")
    for _, model, _ in wanted:
        models.sound(folder / "models" / model)
    spec = task(folder, name)
    if not spec["trained"]:
        raise Mistake(f"task {name!r} is a test only (trained: false); fine-tune on another, and name it among `tests`")
    baseline = baselines.of_task(spec["kind"], spec["source"])
    fit = {"ner": _fit_ner, "screening": _fit_screening}[spec["kind"]]
    for old in (folder / "finetuned" / name).glob("*/") if values["share"] == 1 else ():
        if old.name not in keep:
            shutil.rmtree(old)
    calls = [(folder, name, *one, fit, one[0] in keep and one[2] == seeds[0]) for one in wanted]
    rule = (folder, name, baseline, baseline, 0, BASELINES[baseline], False)
    first = [_once(*rule, **values)] if values["share"] == 1 else []  # of a share nobody asks for it
    table = pd.DataFrame([*first, *processes.at_once(_once, calls, values["fits"], **values)])
    write_table(tables.predictions(folder, name, values["share"]) / "fits.csv", table)
    return table


def starts(arms: Sequence[str], seeds: Sequence[int], copies: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """Arm, model that it starts from, and seed of every fit; the seeds of an arm with copies use them in turn."""
    return [(arm, model_name(arm, seed, copies.get(arm, 1)), seed) for arm in arms for seed in seeds]


def nested_sample(items: Sequence[Any], share: float, seed: int) -> list[Any]:
    """The first items of an order that `seed` gives, in their own order: a smaller share is part of a larger one."""
    order = np.random.default_rng([seed, len(items)]).permutation(len(items))
    return [items[i] for i in sorted(order[: tables.items_of(share, len(items))])]


def passes(epochs: int, share: float) -> int:
    """Passes over a share of the training items: as many steps as with all of them, but at most four times `epochs`."""
    return min(round(epochs / share), 4 * epochs)


Fit = Callable[..., tuple[pd.DataFrame, dict[str, Any]]]


def _once(
    folder: Path, name: str, arm: str, model: str, seed: int, fit: Fit, keep: bool, **values: Any
) -> dict[str, Any]:
    """The fit's row; made now unless it was finished before with the same data, model, settings and code."""
    place = tables.predictions(folder, name, values["share"]) / arm / f"seed-{seed}.parquet"
    fixed = {k: v for k, v in values.items() if k not in training.SPEED}
    data = [
        file_digest(p) for test in values["tests"] for p in sorted((folder / "corpora/tasks" / test).glob("*.jsonl"))
    ]
    files = sorted(p for p in (folder / "models" / model).glob("*") if p.suffix in (".json", ".safetensors"))
    start = [file_digest(p) for p in files] or arm
    kept = folder / "finetuned" / name / arm if keep else None
    key = digest([name, seed, fixed, data, start, code_digest(CODE)])
    note = place.with_suffix(".json")
    if (row := _made_before(place, note)).get("key") == key and (not kept or application.key_of(kept) == key):
        return row
    began = time.monotonic()
    # Fits side by side have a GPU each already.
    count = 1 if fit in BASELINES.values() or values["fits"] > 1 else values["processes"]
    predictions, told = processes.together(fit, count, folder, name, model, seed, key, kept=kept, **values)
    predictions.insert(0, "task", name)
    predictions.insert(1, "arm", arm)
    predictions.insert(2, "seed", seed)
    note.unlink(missing_ok=True)  # of other settings: it must never stand beside these predictions
    write_atomically(place, predictions.to_parquet(index=False))
    row = {"task": name, "arm": arm, "seed": seed, **told, "seconds": round(time.monotonic() - began, 1), "key": key}
    write_atomically(note, json.dumps(row))
    shutil.rmtree(_checkpoint(folder, name, model, seed), ignore_errors=True)
    return row


def _made_before(place: Path, note: Path) -> dict[str, Any]:
    """The row of a fit that was made before; empty where it was not, or one of its files is damaged."""
    try:
        pq.read_metadata(place)
        return json.loads(note.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        print(f"{place}: damaged ({' '.join(str(error).split())[:80]}); made again", flush=True)
        return {}


def _checkpoint(folder: Path, name: str, model: str, seed: int) -> Path:
    return folder / "checkpoints" / "fits" / name / f"{model}-{seed}"


def _train(
    model: Any,
    lengths: list[int],
    losses: Callable[[Sequence[int]], tuple[Any, int]],
    look: Callable[[], dict],
    *,
    seed: int,
    **values: Any,
) -> list:
    """Run the loop for a fit; `lengths` of the items, `losses`: the summed loss of some items, and their weight."""
    size = values["batch_rows"]
    count = passes(values["epochs"], values["share"])
    epochs = [windows.batches(lengths, size, [seed, epoch]) for epoch in range(count)]
    order = [items for epoch in epochs for items in epoch]
    device = training.accelerator()
    training.place(model, device, save_memory=values["save_memory"])

    def loss(items: Sequence[int]) -> tuple[Any, int]:
        with device.autocast():
            return losses(items)

    plan = training.Plan(
        learning_rate=values["learning_rate"],
        warmup_share=values["warmup_share"],
        seed=seed,
        look_every=-(-len(order) // values["epochs"]),  # of a share of the items, too: patience is in looks
        patience=values["patience"],
        checkpoint=values["checkpoint"],
        key=values["key"],
        checkpoint_seconds=values["checkpoint_seconds"],
        tokens_a_step=sum(lengths) / len(epochs[0]),
    )
    work = training.Work(len(order), order.__getitem__, loss)
    return training.train(model, work, plan, look, score="dev_score")


def _fit_ner(
    folder: Path,
    name: str,
    model: str,
    seed: int,
    key: str,
    *,
    tests: list[str],
    share: float,
    length: int,
    overlap: int,
    kept: Path | None,
    **values: Any,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Fine-tune a tagger, keep the epoch that is best on dev, and tag every test set."""
    train, dev = nested_sample(split(folder, name, "train"), share, seed), split(folder, name, "dev")
    where = str(folder / "models" / model)
    tagger = ner.Tagger(
        where, AutoTokenizer.from_pretrained(where), task(folder, name)["labels"], length, overlap, seed
    )
    prepared, targets, seen = tagger.prepare(train), tagger.targets(train), tagger.prepare(dev)
    prepared = [window for window in prepared if window.words]
    history = _train(
        tagger.model,
        [len(window.ids) for window in prepared],
        lambda items: tagger.loss([prepared[i] for i in items], targets),
        lambda: {"dev_score": ner.dev_score(dev, tagger.predict(dev, seen))},
        seed=seed,
        key=key,
        checkpoint=_checkpoint(folder, name, model, seed),
        share=share,
        **values,
    )
    frames = []
    for test in tests:
        documents = split(folder, test, "test")
        frames.append(entity_rows(test, documents, tagger.predict(documents, tagger.prepare(documents))))
    if kept:
        how = {of: task(folder, name)[of] for of in ("kind", "language", "labels")}
        application.keep(kept, tagger, model_cards.tuned(folder, name, kept.name, seed), key=key, **how)
    documents = split(folder, name, "test")
    return pd.concat(frames), {**_looked(history), **_counted(documents, frames[tests.index(name)])}


def _looked(history: list[dict[str, float]]) -> dict[str, Any]:
    """How often dev was looked at, which look was the best one, and its score."""
    found = [row["dev_score"] for row in history]
    return {"dev_score": max(found), "looks": len(found), "best_look": found.index(max(found)) + 1}


def _counted(documents: list[Document], rows: pd.DataFrame) -> dict[str, int]:
    """Gold entities of the test set, all of which are scored, and those no flat tagger can find."""
    gold = sum(len(document.spans) for document in documents)
    scored = int((rows["kind"] == "gold").sum())
    if gold != scored:
        raise AssertionError(f"{scored} gold entities are scored of {gold} in the test set")
    return {"gold": gold, "unreachable": ner.unreachable(documents)}


def entity_rows(test: str, documents: Sequence[Document], predicted: Sequence[Sequence[Span]]) -> pd.DataFrame:
    """One row a gold or predicted entity of a test set."""
    rows = [
        (test, d.language, d.id, s.start, s.end, s.label, d.text[s.start : s.end], kind)
        for d, found in zip(documents, predicted, strict=True)
        for kind, spans in (("gold", d.spans), ("predicted", found))
        for s in spans
    ]
    return pd.DataFrame(rows, columns=["test", "language", "document", "start", "end", "label", "text", "kind"])


def _dictionary(
    folder: Path, name: str, model: str, seed: int, key: str, *, tests: list[str], share: float, **values: Any
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The look-up of training entities, on the same test sets; in another language by cognates."""
    train, frames = nested_sample(split(folder, name, "train"), share, seed), []
    for test in tests:
        own = task(folder, test)["language"] == task(folder, name)["language"]
        form = str.casefold if own else baselines.cognate
        dictionary, documents = baselines.build_dictionary(train, form), split(folder, test, "test")
        found = [baselines.look_up(document, dictionary, form) for document in documents]
        frames.append(entity_rows(test, documents, found))
    return pd.concat(frames), _counted(split(folder, name, "test"), frames[tests.index(name)])


def _fit_screening(
    folder: Path,
    name: str,
    model: str,
    seed: int,
    key: str,
    *,
    tests: list[str],
    share: float,
    length: int,
    overlap: int,
    negatives_per_positive: float,
    kept: Path | None,
    **values: Any,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Fine-tune a screener; aggregation, calibration and threshold are chosen on dev, then applied to test."""
    from sklearn.metrics import average_precision_score  # here, as it takes a second and entities need none

    train = screening.sample(nested_sample(split(folder, name, "train"), share, seed), negatives_per_positive, seed)
    dev, test = split(folder, name, "dev"), split(folder, name, "test")
    where = str(folder / "models" / model)
    screener = screening.Screener(where, AutoTokenizer.from_pretrained(where), length, overlap, seed)
    prepared, seen = screener.prepare(train), screener.prepare(dev)
    gold = [patient.label for patient in dev]
    ranked = lambda logits, pool: [float(pool(x)) for x in logits]  # noqa: E731
    trained_with = screening.smooth_maximum
    history = _train(
        screener.model,
        [sum(len(window.ids) for window in some) for some in prepared],
        lambda items: screener.loss([prepared[i] for i in items], [train[i].label for i in items]),
        lambda: {"dev_score": average_precision_score(gold, ranked(screener.predict(seen), trained_with))},
        seed=seed,
        key=key,
        checkpoint=_checkpoint(folder, name, model, seed),
        share=share,
        **values,
    )
    on_dev, on_test = screener.predict(seen), screener.predict(screener.prepare(test))
    by = {pool: average_precision_score(gold, ranked(on_dev, f)) for pool, f in screening.AGGREGATIONS.items()}
    chosen = max(by, key=by.get)
    pool = screening.AGGREGATIONS[chosen]
    rows, told = patient_rows(dev, ranked(on_dev, pool), test, ranked(on_test, pool))
    told |= {"aggregation": chosen}
    if kept:
        how = {of: task(folder, name)[of] for of in ("kind", "language")}
        application.keep(kept, screener, model_cards.tuned(folder, name, kept.name, seed), key=key, **how, **told)
    return rows, {**_looked(history), "patients": len(train), "dev_score": by[chosen], **told}


def patient_rows(
    dev: Sequence[Patient], on_dev: Sequence[float], test: Sequence[Patient], on_test: Sequence[float]
) -> tuple[pd.DataFrame, dict[str, float]]:
    """One row a patient of dev and test, with probability and flag from a calibration and threshold fitted on dev."""
    slope, intercept = calibration(gold=[p.label for p in dev], logits=on_dev)
    threshold = best_threshold(gold=[p.label for p in dev], scores=on_dev)
    rows = [
        (part, p.language, p.id, p.label, score)
        for part, patients, found in (("dev", dev, on_dev), ("test", test, on_test))
        for p, score in zip(patients, found, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["split", "language", "patient", "label", "score"])
    table["probability"] = calibrated(logits=table["score"], slope=slope, intercept=intercept)
    table["flagged"] = (table["score"] >= threshold).astype(int)
    return table, {"slope": slope, "intercept": intercept, "threshold": threshold}


def _keywords(
    folder: Path, name: str, model: str, seed: int, key: str, **values: Any
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Un-negated mentions of listed conditions, on the same patients."""
    dev, test = split(folder, name, "dev"), split(folder, name, "test")
    terms = synthetic.keyword_terms()
    found = [[float(baselines.keyword_score(p, **terms)) for p in patients] for patients in (dev, test)]
    rows, told = patient_rows(dev, found[0], test, found[1])
    # A count of mentions is no log-odds: a probability made of it would mean nothing.
    return rows.assign(probability=float("nan")), {"threshold": told["threshold"]}


def _words(
    folder: Path, name: str, model: str, seed: int, key: str, *, share: float, **values: Any
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Logistic regression on words, on the same patients."""
    train, dev, test = (split(folder, name, part) for part in PARTS)
    on_dev, on_test = baselines.word_scores(nested_sample(train, share, seed), (dev, test))
    return patient_rows(dev, on_dev, test, on_test)


BASELINES: dict[str, Fit] = {"dictionary": _dictionary, "keywords": _keywords, "words": _words}
