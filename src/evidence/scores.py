"""How good predictions are: strict spans and screening metrics, from one row an item to tidy rows of metrics.

Libraries of metrics are imported where they are used: they take a second, which most stages can do without.
"""

import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from common.project import Mistake

SPAN = ["document", "label", "start", "end"]
FIT = ["task", "test", "arm", "seed"]
NER = [*FIT, "language", "document", "start", "end", "label", "text", "kind"]
SCREENING = ["task", "arm", "seed", "split", "language", "patient", "label", "score", "probability", "flagged"]
COLUMNS = ["task", "test", "language", "arm", "seed", "split", "label", "metric", "value"]
PRECISIONS = (0.5, 0.8)  # the fixed precisions at which recall is reported


def read_predictions(path: Path, *, columns: Sequence[str] = NER) -> pd.DataFrame:
    """A predictions file; Mistake when it is missing or lacks one of `columns`."""
    try:
        rows = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:80]
        raise Mistake(f"{path.name}: no readable predictions at {path} ({reason}); run 03_finetune first") from None
    if lacking := [column for column in columns if column not in rows]:
        raise Mistake(f"{path}: column {lacking[0]!r} is missing; found {list(rows)}; run 03_finetune again")
    return rows


def to_common(rows: pd.DataFrame, common: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Zero-shot rows (`test` differs from `task`) with the labels that both tasks share; all others as they are.

    `common`: task -> own label -> common label. Gold labels are the test's, predicted labels those of the task the
    model was trained on; items whose label the other side lacks are left out. Mistake when two tasks share no label.
    """
    parts = []
    for (task, test), part in rows.groupby(["task", "test"], sort=False):
        if task != test:
            trained, tested = common.get(task, {}), common.get(test, {})
            shared = set(trained.values()) & set(tested.values())
            if not shared:
                raise Mistake(f"tasks.common: {task!r} and {test!r} share no label; give both a common mapping")
            own = part["label"]
            mapped = own.map(dict(tested)).where(part["kind"] == "gold", own.map(dict(trained)))
            part = part.assign(label=mapped)[mapped.isin(shared)]
            # Of two labels for one text that become the same, a model could find only one.
            part = part.drop_duplicates([*(c for c in FIT if c in part), "kind", *SPAN])
        parts.append(part)
    return pd.concat(parts) if parts else rows


def match(*, gold: pd.DataFrame, predicted: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gold and predicted items with a Boolean column `hit`: strict matches of document, label and both offsets.

    One to one within a fit (columns of `FIT` that both frames have): a prediction that repeats another is dropped;
    overlapping gold items all count, and of two gold items that are the same only the first can be hit. (Rule:
    MultiClinAIEval.)
    """
    keys = [column for column in FIT if column in gold and column in predicted] + SPAN
    predicted = predicted.drop_duplicates(keys)
    ours, theirs = pd.MultiIndex.from_frame(gold[keys]), pd.MultiIndex.from_frame(predicted[keys])
    hit = ours.isin(theirs) & ~gold.duplicated(keys).to_numpy()
    return gold.assign(hit=hit), predicted.assign(hit=theirs.isin(ours))


def counts(*, gold: pd.DataFrame, predicted: pd.DataFrame, by: Sequence[str] = ("document",)) -> pd.DataFrame:
    """Strict counts `tp`, `fp`, `fn` by the columns `by`, one row each; items as `match` takes them."""
    gold, predicted = match(gold=gold, predicted=predicted)
    parts = [gold.assign(tp=gold["hit"], fp=False, fn=~gold["hit"])]
    parts.append(predicted.assign(tp=False, fp=~predicted["hit"], fn=False))
    rows = pd.concat(parts)[[*by, "tp", "fp", "fn"]]
    return rows.groupby(list(by), observed=True)[["tp", "fp", "fn"]].sum().astype(int)


def precision_recall_f1(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of counts of any shape.

    No predictions: precision 0 and F1 0. No gold: recall 0 and F1 0. Neither gold nor predictions: all three nan.
    """
    tp, fp, fn = (np.asarray(values, dtype=float) for values in (tp, fp, fn))
    void = np.where(tp + fp + fn > 0, 0.0, np.nan)
    shares = [(tp, tp + fp), (tp, tp + fn), (2 * tp, 2 * tp + fp + fn)]
    precision, recall, f1 = (np.divide(part, whole, out=void.copy(), where=whole > 0) for part, whole in shares)
    return precision, recall, f1


def strict_scores(*, gold: pd.DataFrame, predicted: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Strict precision, recall, F1 and counts, by label and micro-averaged ("all"): columns label, metric, value.

    With `by`, columns of both sides, within each of their groups, and these columns come first.
    """
    table = counts(gold=gold, predicted=predicted, by=[*by, "label"]).reset_index()
    whole = pd.concat([table.assign(label="all"), table])
    table = whole.groupby([*by, "label"], sort=False, observed=True)[["tp", "fp", "fn"]].sum()
    scores = precision_recall_f1(table["tp"], table["fp"], table["fn"])
    table = table.assign(**dict(zip(("precision", "recall", "f1"), scores, strict=True)))
    return table.reset_index().melt([*by, "label"], var_name="metric", value_name="value")


def partial_f1(*, gold: pd.DataFrame, predicted: pd.DataFrame) -> float:
    """nervaluate's partial F1: equal offsets count one, an overlap (1 % of the gold item) half, whatever the labels.

    nan where there is nothing. Of its four strategies only this one is worked out, and not by label: they take longest.
    """
    from nervaluate.strategies import PartialEvaluation

    predicted = predicted.drop_duplicates(SPAN)
    if not (count := len(gold) + len(predicted)):
        return float("nan")
    sides = [_by_document(items) for items in (gold, predicted)]
    strategy = PartialEvaluation(min_overlap_percentage=1.0)
    found = [strategy.evaluate(*(side.get(name, []) for side in sides), [])[0] for name in {**sides[0], **sides[1]}]
    return sum(2 * one.correct + one.partial for one in found) / count


def _by_document(items: pd.DataFrame) -> dict[str, list[Any]]:
    """Items in order, as nervaluate takes them: its ends are inclusive, ours exclusive."""
    from nervaluate.entities import Entity

    found: dict[str, list[Entity]] = {}
    for document, label, start, end in items[SPAN].sort_values(SPAN).itertuples(index=False):
        found.setdefault(document, []).append(Entity(label, int(start), int(end) - 1))
    return found


def seqeval_f1(*, gold: pd.DataFrame, predicted: pd.DataFrame, words: Mapping[str, Sequence[tuple[int, int]]]) -> float:
    """seqeval's micro F1 in strict IOB2 mode on word tags; `words`: document -> (start, end) of its words.

    A word belongs to the earliest item that touches it (the longest, of those that start together), so overlapping
    items are cut or lost: secondary to the strict spans. nan if nothing is there; items outside the documents of
    `words` raise Mistake.
    """
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2

    if gold.empty and predicted.empty:
        return float("nan")
    if unknown := sorted((set(gold["document"]) | set(predicted["document"])) - set(words)):
        raise Mistake(f"words: document {unknown[0]!r} is missing; give the words of every scored document")
    tags = zip(*(_tagged(items, words) for items in (gold, predicted)), strict=True)
    # Every entity begins with B, so a word outside on both sides decides nothing; most words are, and seqeval is slow.
    kept = [[pair for pair in zip(*both, strict=True) if pair != ("O", "O")] for both in tags]
    sides = [[[pair[side] for pair in pairs] for pairs in kept] for side in (0, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns where a side is empty; 0 is what we say then
        return float(f1_score(*sides, mode="strict", scheme=IOB2, zero_division=0))


def _tagged(items: pd.DataFrame, words: Mapping[str, Sequence[tuple[int, int]]]) -> list[list[str]]:
    """IOB2 tags of every document's words."""
    tags = {name: ["O"] * len(spans) for name, spans in words.items()}
    ordered = items.assign(length=items["start"] - items["end"]).sort_values(["document", "start", "length", "label"])
    for document, label, start, end in ordered[SPAN].itertuples(index=False):
        spans = words[document]
        touched = range(bisect_right(spans, start, key=itemgetter(1)), bisect_left(spans, end, key=itemgetter(0)))
        for i in (free := [i for i in touched if tags[document][i] == "O"]):
            tags[document][i] = f"{'B' if i == free[0] else 'I'}-{label}"
    return list(tags.values())


def recall_at_precision(*, gold: Sequence[int], scores: Sequence[float], precision: float) -> float:
    """The highest recall of a threshold whose precision is at least `precision`; 0 if there is none."""
    from sklearn.metrics import precision_recall_curve

    precisions, recalls, _ = precision_recall_curve(gold, scores)
    # The curve ends in precision 1 at recall 0, so there is always a point.
    return float(recalls[precisions >= precision].max())


def calibration_error(*, gold: Sequence[int], probability: Sequence[float], bins: int = 10) -> float:
    """Expected calibration error: mean |share of positives − mean probability| over equal-width bins, weighted by size.

    Source: Naeini et al. 2015. A probability on an edge belongs to the bin above it, 1 to the last.
    """
    gold, probability = np.asarray(gold, dtype=float), np.asarray(probability, dtype=float)
    which = np.minimum((probability * bins).astype(int), bins - 1)
    gap = np.bincount(which, gold - probability, minlength=bins)  # bin size × (share − mean)
    return float(np.abs(gap).sum() / len(gold))


def share_interval(share: pd.Series, count: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Ends of the 95 % interval of a share that was found among `count` patients (Wilson 1927)."""
    z = 1.959964
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return middle - half, middle + half


def calibration(*, gold: Sequence[int], logits: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept that minimise the log loss of sigmoid(slope * logits + intercept), to be fitted on dev.

    Platt 1999, with his targets: of n positives each counts as (n + 1) / (n + 2) of one, and negatives likewise, or a
    few that lie apart would get probabilities of 0 and 1. A temperature alone would not do: trained on a sample of the
    negatives, the logits are shifted too.
    """
    from sklearn.linear_model import LogisticRegression

    logits, gold = np.asarray(logits, dtype=float), np.asarray(gold, dtype=int)
    middle, width = logits.mean(), logits.std() if np.ptp(logits) else 1.0  # the search ends too early on narrow ones
    counts = np.bincount(gold, minlength=2)[gold]
    own = (counts + 1) / (counts + 2)  # each item twice, as what it is and, for the rest, as the other one
    scaled = np.tile((logits - middle) / width, 2)[:, None]
    fitted = LogisticRegression(C=np.inf).fit(scaled, np.append(gold, 1 - gold), np.append(own, 1 - own))
    slope = float(fitted.coef_[0, 0]) / width
    return slope, float(fitted.intercept_[0]) - slope * middle


def calibrated(*, logits: Sequence[float], slope: float, intercept: float) -> np.ndarray:
    """Probabilities sigmoid(slope * logits + intercept); nan where scores on dev did not rise with the condition."""
    return expit(slope * np.asarray(logits, dtype=float) + intercept) if slope > 0 else np.full(len(logits), np.nan)


def best_threshold(*, gold: Sequence[int], scores: Sequence[float]) -> float:
    """The score from which flagging (score >= threshold) has the highest F1; the highest of equals. Choose it on dev.

    Raises Mistake when no patient is positive.
    """
    from sklearn.metrics import precision_recall_curve

    if not np.any(np.asarray(gold) == 1):
        raise Mistake("threshold: no positive patient in dev; give the task more dev patients")
    precisions, recalls, thresholds = precision_recall_curve(gold, scores)
    total = np.maximum(precisions + recalls, 1e-12)[:-1]
    f1 = 2 * (precisions * recalls)[:-1] / total
    return float(thresholds[len(f1) - 1 - int(np.argmax(np.round(f1[::-1], 12)))])


def screening_scores(
    *, gold: Sequence[int], scores: Sequence[float], probability: Sequence[float], flagged: Sequence[int]
) -> dict[str, float]:
    """Metric -> value for patients; ranking metrics are nan without both labels, calibration without probabilities."""
    from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

    gold, scores, probability, flagged = (np.asarray(values) for values in (gold, scores, probability, flagged))
    both = 0 < gold.mean() < 1
    known = not np.isnan(probability.astype(float)).any()
    tp, fp, fn = (np.sum(pair) for pair in (gold * flagged, (1 - gold) * flagged, gold * (1 - flagged)))
    precision, recall, f1 = precision_recall_f1(tp, fp, fn)
    values = {"auprc": average_precision_score(gold, scores) if both else np.nan}
    values |= {"auroc": roc_auc_score(gold, scores) if both else np.nan}
    for fixed in PRECISIONS:
        at = recall_at_precision(gold=gold, scores=scores, precision=fixed) if both else np.nan
        values[f"recall_at_precision_{fixed:.2f}"] = at
    values |= {"brier": brier_score_loss(gold, probability, pos_label=1) if known else np.nan}
    values |= {"calibration_error": calibration_error(gold=gold, probability=probability) if known else np.nan}
    values |= {"precision": precision, "recall": recall, "f1": f1, "prevalence": gold.mean()}
    return {metric: float(value) for metric, value in values.items()}


def mcnemar(*, gold: Sequence[int], one: Sequence[int], other: Sequence[int]) -> tuple[int, int, float]:
    """Patients that only `one` decides rightly, those that only `other` does, and McNemar's exact two-sided p.

    Under no difference each of them falls to either side with probability one half (McNemar 1947).
    """
    from scipy.stats import binomtest

    right, also = (np.asarray(side) == np.asarray(gold) for side in (one, other))
    only_one, only_other = int(np.sum(right & ~also)), int(np.sum(also & ~right))
    either = only_one + only_other
    return only_one, only_other, float(binomtest(only_one, either).pvalue) if either else 1.0


def confusions(rows: pd.DataFrame) -> pd.DataFrame:
    """Test patients by arm at the threshold chosen on dev: positives and negatives, flagged or not, mean of seeds."""
    tested = rows[rows["split"] == "test"]
    cells = {
        "positive, flagged": tested["label"] * tested["flagged"],
        "positive, not flagged": tested["label"] * (1 - tested["flagged"]),
        "negative, flagged": (1 - tested["label"]) * tested["flagged"],
        "negative, not flagged": (1 - tested["label"]) * (1 - tested["flagged"]),
    }
    counted = tested.assign(**cells).groupby(["task", "arm", "seed"], sort=False)[list(cells)].sum()
    return counted.groupby(["task", "arm"], sort=False).mean().reset_index()


def _sides(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {kind: rows[rows["kind"] == kind] for kind in ("gold", "predicted")}


def score_file(
    path: Path,
    common: Mapping[str, Mapping[str, str]] | None = None,
    words: Mapping[str, Sequence[tuple[int, int]]] | None = None,
) -> pd.DataFrame:
    """The rows of results/metrics.csv (columns `COLUMNS`) of one NER predictions file, in-task and zero-shot tests.

    `common`: task -> own label -> common label (see `to_common`). `words`: document -> (start, end) of its words, of
    the task's own test set, which then gets the secondary scores too: seqeval's F1 and nervaluate's partial F1.
    Mistake when the file is missing or lacks a column.
    """
    rows = to_common(read_predictions(path), common or {})
    by = [*FIT, "language"]
    own = rows[:0] if words is None else rows[rows["task"] == rows["test"]]
    tables = [strict_scores(**_sides(rows), by=by)]
    for values, part in own.groupby(by, sort=False):
        more = {"partial_f1": partial_f1(**_sides(part)), "seqeval_f1": seqeval_f1(**_sides(part), words=words)}
        tables.append(pd.DataFrame([[*values, "all", *item] for item in more.items()], columns=list(tables[0])))
    return pd.concat(tables).assign(split="test")[COLUMNS].reset_index(drop=True)


def score_screening_file(path: Path) -> pd.DataFrame:
    """The rows of results/metrics.csv (columns `COLUMNS`) of one screening predictions file, dev and test."""
    rows = read_predictions(path, columns=SCREENING)
    found = []
    by = ["task", "arm", "seed", "split", "language"]
    for fit, part in rows.groupby(by, sort=False):
        values = screening_scores(
            gold=part["label"], scores=part["score"], probability=part["probability"], flagged=part["flagged"]
        )
        place = dict(zip(by, fit, strict=True)) | {"test": fit[0], "label": "all"}
        found += [place | {"metric": metric, "value": value} for metric, value in values.items()]
    return pd.DataFrame(found, columns=COLUMNS)
