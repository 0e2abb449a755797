"""Verdicts on the claims: paired differences between arms, their uncertainty, and what follows from them.

Comparisons on one test set share their draws of documents, and those of one fit its seeds, so that differences can be
pooled. Where an arm was pre-trained several times, its copies count and not the seeds that use them, and a copy that is
good on one task is taken to be good on all; what another pre-training of an arm with one copy would change is in no
interval, so that chance may give verdicts more often than the level says. A document that has no gold and where no arm
of the family predicts anything adds to no count and is left out.

Claims, rule and families are declared beforehand, in profiles/claims.yaml.
"""

from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.names import METRICS, SYNTHETIC, turn
from common.project import Mistake
from evidence import baselines, testable
from evidence.bootstrap import Part, Spread, by_copy, estimate, holm, pooled
from evidence.draws import Fits, Item, Together, by_draw, documents_of, weighed
from evidence.scores import mcnemar, read_predictions

COLUMNS = ["claim", "task", "test", "arm", "against", "metric", "mentions", "seeds", "copies", "units", "arm_value"]
COLUMNS += ["against_value", "difference", "low", "high", "detectable", "p", "p_holm", "verdict", "reason"]
BEYOND = ["claim", "task", "arm", "against", "gain_on_unseen", "gain_on_seen", "difference", "low", "high", "p"]

SIDES = ("arm", "against")
Scores = dict[str, tuple[list[int], np.ndarray]]  # arm -> its seeds, its scores by draw (1 + draws, seeds)
# (task, arm, *seeds) -> what the fit adds; without the task for copies, which tasks share
Parts = dict[tuple[Any, ...], Part]


def load_fits(folder: Path, family: Sequence[Item]) -> Fits:
    """(task, arm) -> predictions of the seeds that the task's fits.csv lists; of all files where there is none."""
    fits = {}
    for task, arm in {(item["task"], item[side]): None for item in family for side in SIDES}:
        files = sorted((folder / task / arm).glob("seed-*.parquet"))
        if (listed := folder / task / "fits.csv").is_file():
            # Fits of an earlier choice of seeds stay on disk, but they are not of this run.
            rows = pd.read_csv(listed).query("arm == @arm")
            files = [file for file in files if int(file.stem.removeprefix("seed-")) in set(rows["seed"])]
        if files:
            parts = [read_predictions(file, columns=["arm", "seed"]) for file in files]
            fits[task, arm] = pd.concat(parts, ignore_index=True)
    return fits


def scored(
    fits: Fits,
    item: Item,
    *,
    draws: int,
    seed: int,
    common: Mapping[str, Item],
    train: Mapping[str, set[str]],
    together: Together,
) -> tuple[Scores, int]:
    """All arms of a comparison's task on its test: their seeds and scores by draw; and how many units are drawn.

    `item`: task, test, metric, mentions. `common` as in `scores.to_common`. `train`: task -> folded texts of its
    training mentions, for mentions "seen" or "unseen". `together` as in `weighed`. Raises Mistake when the task has no
    predictions, or others than the metric needs.
    """
    sides = {arm: rows for (task, arm), rows in fits.items() if task == item["task"]}
    ner, metric = all("kind" in rows for rows in sides.values()), item["metric"]
    if sides and metric not in (allowed := METRICS["ner" if ner else "screening"]):
        raise Mistake(f"metric {metric!r} does not fit task {item['task']!r}; allowed: {', '.join(allowed)}")
    seeds = {arm: _seeds(arm, rows) for arm, rows in sides.items()}
    documents = documents_of(fits, item["test"]) if ner else []
    plan = {"draws": draws, "seed": seed}
    weights = weighed(fits, item["test"], documents, together, **plan) if ner else None
    plan |= {"common": common, "train": train, "weights": weights}
    values, units = by_draw(list(sides.values()), list(seeds.values()), item, documents, **plan)
    return {arm: (numbers, side) for (arm, numbers), side in zip(seeds.items(), values, strict=True)}, units


def difference(scores: Scores, item: Item, *, copies: Mapping[str, int]) -> tuple[Parts, dict[str, Any]]:
    """One comparison's difference, arm minus against, as parts that `bootstrap.estimate` takes; and its base.

    `item`: task, test, arm, against, metric, mentions. `scores` as `scored` has them. `copies`: arm -> pre-training
    copies that its seeds use in turn, where there are several. Raises Mistake when the comparison cannot be tested.
    """
    for arm in (item[side] for side in SIDES):
        if arm not in scores:
            raise Mistake(f"no predictions of arm {arm!r} on task {item['task']!r}")
    seeds = _paired_seeds(item, *(scores[item[side]][0] for side in SIDES))
    parts, found = [], {"seeds": len(seeds[0]), "copies": 1}
    for side, sign, numbers in zip(SIDES, (1, -1), seeds, strict=True):
        known, values = scores[item[side]]
        values, used = of_copies(values[:, [known.index(n) for n in numbers]], numbers, copies.get(item[side], 1))
        part = Part(values, {(*measured(item), used > 1): 1.0}) * sign
        drawn = sorted({turn(n, copies[item[side]]) for n in numbers}) if used > 1 else numbers
        parts.append({(item["task"] if used == 1 else "", item[side], *drawn): part})
        found |= {f"{side}_value": float(values[0].mean()), "copies": max(used, found["copies"])}
    if np.isnan(found["arm_value"] - found["against_value"]):
        raise Mistake(f"{item['metric']} is undefined: nothing to score in test {item['test']!r}")
    return added(parts), found


def measured(item: Item) -> tuple[str, ...]:
    """What a comparison measures its arms on."""
    return tuple(item[name] for name in ("task", "test", "metric", "mentions"))


def of_copies(values: np.ndarray, seeds: Sequence[int], copies: int) -> tuple[np.ndarray, int]:
    """Values (1 + draws, seeds) by pre-training copy where the seeds use several, and how many they use."""
    turns = [turn(seed, copies) for seed in seeds]
    used = len(set(turns))
    return (by_copy(values=values, copies=turns) if used > 1 else values), used


def spread(scores: Scores, copies: Mapping[str, int], several: bool) -> Spread:
    """What the scores of all arms on one test vary by over copies (`several`), or over the seeds of arms with one."""
    found = [of_copies(values, seeds, copies.get(arm, 1)) for arm, (seeds, values) in scores.items()]
    return pooled([values for values, used in found if (used > 1) == several])


def added(parts: Sequence[Parts]) -> Parts:
    """The sum of parts: what they have of the same fit is added up, seed by seed."""
    total: Parts = {}
    for key, part in ((key, part) for one in parts for key, part in one.items()):
        total[key] = total[key] + part if key in total else part
    return total


def _seeds(arm: str, rows: pd.DataFrame) -> list[int]:
    """The seeds of an arm's predictions; one of a baseline, for it learns nothing at random."""
    return sorted(rows["seed"].unique())[: 1 if arm in baselines.NAMES else None]


def _paired_seeds(item: Item, ours: list[int], theirs: list[int]) -> tuple[list[int], list[int]]:
    """The seeds of both sides that are compared: those in common, but against a baseline all."""
    if item["against"] not in baselines.NAMES:
        ours = theirs = sorted(set(ours) & set(theirs))
    if len(ours) < 2:
        raise Mistake(f"{len(ours)} seeds in common, at least 2 are needed")
    return ours, theirs


def assess(folder: Path, family: Sequence[Item], **how: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """`compare` on the predictions of a run; `folder` holds <task>/<arm>/seed-*.parquet."""
    return compare(load_fits(folder, family), family, **how)


def flagged_alike(folder: Path, family: Sequence[Item]) -> pd.DataFrame:
    """McNemar's exact test for the comparisons on patients, one row each: what more than half of the seeds flag.

    Secondary to the ranking: it looks at one threshold only, the one chosen on dev. Not corrected.
    """
    rows, fits = [], load_fits(folder, family)
    for item in (item for item in family if not item.get("reason")):
        sides = [fits.get((item["task"], item[side])) for side in SIDES]
        if any(side is None or "flagged" not in side for side in sides):
            continue
        try:
            seeds = _paired_seeds(item, *(_seeds(item[name], rows) for name, rows in zip(SIDES, sides, strict=True)))
        except Mistake:
            continue
        tested = [
            side[(side["split"] == "test") & side["seed"].isin(numbers)].groupby("patient")[["label", "flagged"]].mean()
            for side, numbers in zip(sides, seeds, strict=True)
        ]
        one, other = ((side["flagged"] > 0.5).astype(int).reindex(tested[0].index) for side in tested)
        only_one, only_other, p = mcnemar(gold=tested[0]["label"], one=one, other=other)
        place = {name: item[name] for name in ("claim", "task", "arm", "against")}
        rows.append(place | {"patients": len(one), "only_arm": only_one, "only_against": only_other, "p": p})
    return pd.DataFrame(rows, columns=["claim", "task", "arm", "against", "patients", "only_arm", "only_against", "p"])


def beyond_seen(
    folder: Path, family: Sequence[Item], *, copies: Mapping[str, int], confidence: float, **how: Any
) -> pd.DataFrame:
    """Gains of the family's comparisons in recall of unseen mentions, less those of seen ones; a row a comparison.

    Where both gain alike, what was learnt is the task rather than its words. Secondary, not corrected. A seed's two
    recalls are subtracted before they are compared, as they rise and fall together. Comparisons that cannot be made are
    left out. Columns: `BEYOND`. `how` are draws, seed, common, train and together, as `scored` has them.
    """
    rows, fits = [], load_fits(folder, family)
    for item in (item for item in family if item.get("mentions") == "unseen" and not item.get("reason")):
        row = {**item, "test": item.get("test") or item["task"]}
        try:
            unseen, seen = (scored(fits, {**row, "mentions": which}, **how)[0] for which in ("unseen", "seen"))
            gap = {arm: (seeds, values - seen[arm][1]) for arm, (seeds, values) in unseen.items()}
            (parts, _), *sides = (difference(scores, row, copies=copies) for scores in (gap, unseen, seen))
        except Mistake:
            continue
        spreads = {(*measured(row), several): spread(gap, copies, several) for several in (True, False)}
        found, gains = estimate(list(parts.values()), spreads), [f["arm_value"] - f["against_value"] for _, f in sides]
        low, high, p = found.interval(confidence)
        rows.append([*(row[name] for name in BEYOND[:4]), *gains, found.value, low, high, p])
    return pd.DataFrame(rows, columns=BEYOND)


def compare(
    fits: Fits,
    family: Sequence[Item],
    *,
    draws: int,
    confidence: float,
    seed: int,
    synthetic: bool,
    stated: Mapping[str, str],
    common: Mapping[str, Item] | None = None,
    train: Mapping[str, set[str]] | None = None,
    copies: Mapping[str, int] | None = None,
    together: Together | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Every comparison of the declared family, one row each (`COLUMNS`), and the content of claims.json.

    `stated`: claim -> its text, for claims.json. `units` are documents or patients; p_holm is over all
    comparisons and claims, so that any verdict at all is as seldom wrong as the level says.
    See `difference` for `copies`, `scored` for `common` and `train`, `draws.weighed` for `together`. Of the items of
    `family` an empty `test` is the task's own, `mentions` are all; an item may say why it cannot be tested (`reason`).
    """
    if not 0 < confidence < 1:
        raise Mistake(f"confidence: found {confidence}, allowed is what lies between 0 and 1, such as 0.95")
    how = {"draws": draws, "seed": seed, "common": common or {}, "train": train or {}, "together": together or {}}
    rows, differences, shared = _differences(fits, family, copies or {}, **how)
    questions = len(family) + len(stated)  # the first step of Holm's correction
    for row, parts in zip(rows, differences, strict=True):
        if parts:
            found = estimate(list(parts.values()), shared)
            row |= dict(zip(("low", "high", "p"), found.interval(confidence), strict=True))
            row |= {"difference": found.value, "detectable": found.detectable(1 - (1 - confidence) / questions)}
    table = pd.DataFrame(rows, columns=COLUMNS)
    judged = [_claim(*claim, table, differences, shared, confidence) for claim in stated.items()]
    corrected = holm([*table["p"], *(claim.get("p", np.nan) for claim in judged)])
    table["p_holm"] = corrected[: len(table)]
    table["verdict"] = [_verdict(row, 1 - confidence) for row in table.to_dict("records")]
    of_claims = zip(judged, corrected[len(table) :], strict=True)
    content = {"synthetic": synthetic, "note": SYNTHETIC if synthetic else "", "confidence": confidence, "draws": draws}
    return table, content | {"claims": [_decided(*claim, table, 1 - confidence) for claim in of_claims]}


def _differences(
    fits: Fits, family: Sequence[Item], copies: Mapping[str, int], **how: Any
) -> tuple[list[dict[str, Any]], list[Parts], dict[Hashable, Spread]]:
    """A row and the parts of every comparison, without parts where it cannot be tested; and the spreads of them all."""
    rows, differences, known = [], [], dict[tuple[str, ...], tuple[Scores, int]]()
    for item in family:
        row = {**item, "test": item.get("test") or item["task"], "mentions": item.get("mentions", "all")}
        try:
            if item.get("reason"):
                raise Mistake(item["reason"])
            if (place := measured(row)) not in known:
                known[place] = scored(fits, row, **how)
            scores, units = known[place]
            if units < 2:
                raise Mistake(f"{units} document or patient in test {row['test']!r}, at least 2 are needed")
            parts, found = difference(scores, row, copies=copies)
            row |= found | {"units": units, "reason": ""}
        except Mistake as mistake:
            parts, row["reason"] = {}, str(mistake)
        rows.append(row)
        differences.append(parts)
    every = product(known.items(), (True, False))
    return rows, differences, {(*place, several): spread(of[0], copies, several) for (place, of), several in every}


def _verdict(row: Item, level: float) -> str:
    """What a comparison or a claim shows by itself, after Holm."""
    if row["reason"]:
        return "not testable here"
    if not row["p_holm"] < level:  # nan decides nothing
        return "inconclusive"
    return "supported" if row["difference"] > 0 else "contradicted"


def _claim(
    claim: str,
    text: str,
    table: pd.DataFrame,
    differences: Sequence[Parts],
    shared: Mapping[Hashable, Spread],
    confidence: float,
) -> dict[str, Any]:
    """The numbers that the verdict on one claim rests on; a `reason` in their place where it cannot be tested."""
    part = table[table["claim"] == claim]
    result = {"claim": claim, "text": text, "comparisons": len(part)}
    if reason := testable.of_claim([*part[["task", "arm", "reason"]].itertuples(index=False)]):
        return result | {"reason": reason}
    every = added([differences[i] for i in part.index])
    mean = estimate([fit * (1 / len(part)) for fit in every.values()], shared)
    low, high, p = mean.interval(confidence)
    return result | {"reason": "", "difference": mean.value, "low": low, "high": high, "p": p}


def _decided(claim: dict[str, Any], p_holm: float, table: pd.DataFrame, level: float) -> dict[str, Any]:
    """A claim with its verdict after the declared rule, and how many of its comparisons have which."""
    verdicts = table.loc[table["claim"] == claim["claim"], "verdict"].value_counts().to_dict()
    claim = claim | {"verdicts": verdicts} | ({} if claim["reason"] else {"p_holm": float(p_holm)})
    verdict = _verdict(claim, level)
    barred = {"supported": "contradicted", "contradicted": "supported"}.get(verdict) in verdicts
    return claim | {"verdict": "inconclusive" if barred else verdict}
