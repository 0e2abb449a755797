"""Scores of several arms on the same drawn documents or patients of a test."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from common.project import Mistake
from evidence.bootstrap import average_precisions, draw_weights, ner_scores
from evidence.scores import SCREENING, counts, to_common
from texts.cleaning import folded

Item = Mapping[str, Any]
Together = Mapping[str, tuple[str, Mapping[str, Any]]]
Fits = dict[tuple[str, str], pd.DataFrame]  # (task, arm) -> predictions of all seeds


def documents_of(fits: Fits, test: str) -> list[str]:
    """The documents of a test set that any arm's rows name: the same units for every comparison on it."""
    parts = [rows.loc[rows["test"] == test, "document"] for rows in fits.values() if "test" in rows]
    found = sorted(set().union(*(part.unique() for part in parts)))
    if not found:
        raise Mistake(f"no predictions on test {test!r}")
    return found


def weighed(
    fits: Fits, test: str, documents: Sequence[str], together: Together, *, draws: int, seed: int
) -> tuple[np.ndarray, int] | None:
    """How often each document of a test is drawn, (1 + draws, documents), and of how many units they are.

    None where documents are drawn by themselves.

    `together`: test -> whose documents it has, and the unit of each: of versions of one report (translated, or with
    other entities marked), sentences that were neighbours, notes of one patient. What is alike is drawn together, or
    intervals would be too narrow (block bootstrap, Künsch 1989).
    """
    if test not in together:
        return None
    (of, unit), named = together[test], pd.concat([r[["test", "document"]] for r in fits.values() if "test" in r])
    pairs = named.drop_duplicates().itertuples(index=False)
    units = sorted({together[t][1][document] for t, document in pairs if together.get(t, ("",))[0] == of})
    column = {one: number for number, one in enumerate(units)}
    weights = draw_weights(units=len(units), draws=draws, seed=seed, key=of)
    here = [column[unit[document]] for document in documents]
    return weights[:, here], len(set(here))


def by_draw(
    sides: Sequence[pd.DataFrame],
    seeds: Sequence[list[int]],
    item: Item,
    documents: list[str],
    *,
    draws: int,
    seed: int,
    common: Mapping[str, Item],
    train: Mapping[str, set[str]],
    weights: tuple[np.ndarray, int] | None,
) -> tuple[list[np.ndarray], int]:
    """Scores (1 + draws, seeds) of every side on the same draws of its test, and how many units are drawn.

    Units are those of `weights`, from `weighed`, or else `documents`; for screening there are none of either, and units
    are patients.
    """
    plan = {"draws": draws, "seed": seed, "key": item["test"]}
    if documents:
        counted = [tallies(*side, documents, item, common, train) for side in zip(sides, seeds, strict=True)]
        often, units = weights or (draw_weights(units=len(documents), **plan), len(documents))
        return [ner_scores(tallies=c, weights=often, metric=item["metric"]) for c in counted], units
    gold, scores = patients(sides, seeds)
    often = draw_weights(units=len(gold), **plan)
    return [average_precisions(gold=gold, scores=side, weights=often) for side in scores], len(gold)


def tallies(
    rows: pd.DataFrame,
    seeds: list[int],
    documents: list[str],
    item: Item,
    common: Mapping[str, Item],
    train: Mapping[str, set[str]],
) -> np.ndarray:
    """Counts (seeds, documents, 3: tp fp fn) of one side of an NER comparison."""
    rows = to_common(rows[rows["test"] == item["test"]], common)
    gold, predicted = rows[rows["kind"] == "gold"], rows[rows["kind"] == "predicted"]
    if item["mentions"] != "all":
        if item["task"] not in train:
            raise Mistake(f"training mentions of task {item['task']!r} are not known")
        seen = gold["text"].map(folded).isin(list(train[item["task"]]))
        gold = gold[seen == (item["mentions"] == "seen")]
    table = counts(gold=gold, predicted=predicted, by=["seed", "document"])
    every = [table.reindex(pd.MultiIndex.from_product([[n], documents]), fill_value=0) for n in seeds]
    return np.stack([part.to_numpy() for part in every])


def patients(sides: Sequence[pd.DataFrame], seeds: Sequence[list[int]]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Gold labels (patients,) of the test patients, and the scores (seeds, patients) of all sides."""
    labels, scores = [], []
    for rows, numbers in zip(sides, seeds, strict=True):
        if lacking := [column for column in SCREENING if column not in rows]:
            raise Mistake(f"predictions lack column {lacking[0]!r}")
        rows = rows[rows["split"] == "test"]
        table = rows.pivot(index="patient", columns="seed", values="score")
        labels.append(rows.drop_duplicates("patient").set_index("patient")["label"].reindex(table.index))
        scores.append(np.stack([table[number] for number in numbers]))
    if not all(label.equals(labels[0]) for label in labels) or any(np.isnan(side).any() for side in scores):
        raise Mistake("the arms have different test patients")
    return labels[0].to_numpy(), scores
