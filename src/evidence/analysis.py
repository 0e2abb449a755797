"""Why adaptation helps or not (C4): vocabulary, word pieces, mentions seen before, alignment across languages."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd

from common.names import GROUPS
from common.project import DATA, Mistake, read_yaml
from evidence.scores import FIT, match
from evidence.tables import primary
from texts.cleaning import folded

WORD = re.compile(r"[^\W\d_]+")
TOKEN = re.compile(r"\w+|[^\w\s]")


@cache
def distances() -> dict[str, float]:
    """Syntactic distances by pair of languages, as data/distances.yaml defines and lists them."""
    return read_yaml(DATA / "distances.yaml")["syntactic"]


def distance(one: str, other: str) -> float:
    """Syntactic distance of two languages (see `distances`), 0 for the same; Mistake for a pair without one."""
    if one == other:
        return 0.0
    pair, known = "-".join(sorted((one, other))), distances()
    if pair not in known:
        raise Mistake(f"languages {one!r} and {other!r}: data/distances.yaml has no {pair!r}, only {', '.join(known)}")
    return known[pair]


def word_counts(texts: Iterable[str]) -> Counter[str]:
    """How often each word (letters only, as written) occurs; reads `texts` once, as a stream."""
    found: Counter[str] = Counter()
    for text in texts:
        found.update(WORD.findall(text))
    return found


def vocabulary_overlap(counts: Mapping[str, Counter[str]], *, words: int) -> pd.DataFrame:
    """Share of the `words` most frequent words that two corpora have in common, a square table by corpus name.

    `counts`: corpus name -> its `word_counts`. A corpus with fewer different words sets the denominator of its pairs.
    Case is levelled; words that are equally frequent are taken in the order of the alphabet. (After Gururangan et al.
    2020, who also leave out stop words.) nan for a corpus of figures alone.
    """
    counts = {name: _levelled(found) for name, found in counts.items()}
    top = {name: set(sorted(found, key=lambda word: (-found[word], word))[:words]) for name, found in counts.items()}
    table = [[len(a & b) / min(len(a), len(b)) if a and b else np.nan for b in top.values()] for a in top.values()]
    return pd.DataFrame(table, index=list(top), columns=list(top))


def _levelled(counts: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for word, number in counts.items():
        found[word.casefold()] += number
    return found


def fertility(counts: Counter[str], tokenize: Callable[[str], Sequence[object]]) -> float:
    """Word pieces a word, over all occurrences in a corpus; `counts` from `word_counts`; nan without words."""
    pieces = sum(len(tokenize(word)) * number for word, number in counts.items())
    return pieces / counts.total() if counts else float("nan")


def found_in_text(mentions: Iterable[str], texts: Iterable[str]) -> set[str]:
    """The folded `mentions` that occur in `texts` as whole words, case levelled; reads `texts` once, as a stream."""
    waiting: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    names: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for mention in map(folded, mentions):
        if words := tuple(TOKEN.findall(mention)):
            waiting[words[0]].add(words)
            names[words].add(mention)
    found: set[str] = set()
    for text in texts:
        tokens = tuple(TOKEN.findall(text.casefold()))
        for i, token in enumerate(tokens):
            for words in [w for w in waiting.get(token, ()) if tokens[i : i + len(w)] == w]:
                found |= names[words]
                waiting[token].discard(words)
    return found


def recall_by_group(rows: pd.DataFrame, *, train: set[str], adaptation: set[str]) -> pd.DataFrame:
    """Strict recall of gold mentions by where their text was seen before: columns of `FIT`, group, gold, found, recall.

    `rows`: NER prediction rows of one task. `train`, `adaptation`: folded texts of mentions in the task's training
    set, and of those in the unlabelled text. Every gold item is in exactly one of `GROUPS`; groups without gold have
    no row.
    """
    gold, _ = match(gold=rows[rows["kind"] == "gold"], predicted=rows[rows["kind"] == "predicted"])
    texts = gold["text"].map(folded)
    group = np.select([texts.isin(list(train)), texts.isin(list(adaptation))], GROUPS[:2], GROUPS[2])
    table = (
        gold.assign(group=group).groupby([*FIT, "group"], sort=False)["hit"].agg(gold="size", found="sum").reset_index()
    )
    return table.assign(recall=table["found"] / table["gold"])


def cka(one: np.ndarray, other: np.ndarray) -> float:
    """Linear centred kernel alignment of two representations of the same items, (items, width) each: 0 to 1.

    |Yᵀ X|² / (|Xᵀ X| |Yᵀ Y|), Frobenius norms, columns centred; Kornblith et al. 2019, eq. 5. nan when a side is
    constant; ValueError when the numbers of items differ.
    """
    return _alignments(one, other, [np.arange(len(other))])


def chance_cka(one: np.ndarray, other: np.ndarray, draws: int = 20) -> float:
    """Mean `cka` of items paired at random: it grows with the width, and is far from 0 where items are few."""
    generator = np.random.default_rng(0)
    return _alignments(one, other, [generator.permutation(len(other)) for _ in range(draws)])


def _alignments(one: np.ndarray, other: np.ndarray, orders: Sequence[np.ndarray]) -> float:
    """Mean `cka` over orders of the other side's items, which change neither means nor the lengths it is divided by."""
    x, y = (np.asarray(values, dtype=float) - np.mean(values, axis=0) for values in (one, other))
    if len(x) != len(y):
        raise ValueError(f"CKA compares the same items: {len(x)} and {len(y)} rows")
    scale = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    found = [np.linalg.norm(y[order].T @ x) ** 2 for order in orders]
    return float(np.mean(found) / scale) if scale > 0 else float("nan")


def retrieval(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Translation retrieval: share of rows whose nearest row on the other side, by cosine, is their own translation.

    Row i of both (items, width) is the same term in two languages. Keys: forward, backward, mean, chance (1 / items).
    A row that ties with its translation is a miss, so representations that have collapsed do not score.
    """
    x, y = (np.asarray(values, dtype=float) for values in (one, other))
    if len(x) != len(y):
        raise ValueError(f"retrieval compares the same items: {len(x)} and {len(y)} rows")
    x, y = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (x, y))
    # Rounding settles equal cosines as ties.
    cosine = np.round(x @ y.T, 9)
    own = np.diag(cosine)
    rivals = cosine - np.diag(np.full(len(x), np.inf))
    forward, backward = (float(np.mean(own > rivals.max(axis=axis))) for axis in (1, 0))
    return {"forward": forward, "backward": backward, "mean": (forward + backward) / 2, "chance": 1 / len(x)}


def associations(table: pd.DataFrame, *, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Pearson's r and Spearman's rho of column pairs, one row a pair (x, y); no p values: arms share their control.

    Rows with a missing value are left out by pair; fewer than three rows or a constant column give nan.
    """
    rows = []
    for x, y in pairs:
        part = table[[x, y]].astype(float).dropna()
        row: dict[str, object] = {"x": x, "y": y, "n": len(part)}
        if len(part) >= 3 and part[x].nunique() > 1 and part[y].nunique() > 1:
            row |= {method: part[x].corr(part[y], method=method) for method in ("pearson", "spearman")}
        rows.append(row)
    return pd.DataFrame(rows, columns=["x", "y", "n", "pearson", "spearman"])


def gains(losses: pd.DataFrame, metrics: pd.DataFrame, *, control: str) -> pd.DataFrame:
    """Gain in masked-token loss and in the primary score (AUPRC, or else F1), each arm against `control`, by task.

    `losses`: columns task, arm, loss (nats a token of the task's text). `metrics`: rows of results/metrics.csv; the
    mean over seeds of in-task test rows with label "all" is taken. Positive is better in both.
    """
    scores = primary(metrics).groupby(["task", "arm"])["value"].mean().rename("score")
    table = losses.groupby(["task", "arm"])["loss"].mean().to_frame().join(scores, how="inner").reset_index()
    base = table[table["arm"] == control].set_index("task")
    if base.empty:
        raise Mistake(f"gains: control arm {control!r} has no losses and scores; found {sorted(set(table['arm']))}")
    table = table[(table["arm"] != control) & table["task"].isin(base.index)].reset_index(drop=True)
    table["loss_gain"] = table["task"].map(base["loss"]) - table["loss"]
    table["score_gain"] = table["score"] - table["task"].map(base["score"])
    return table[["task", "arm", "loss_gain", "score_gain"]]
