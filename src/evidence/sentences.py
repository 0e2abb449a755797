"""Sentences made from a run's tables, one for each analysis: what the numbers say, with the numbers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.names import GROUPS, shown
from evidence.analysis import associations
from evidence.baselines import NAMES as BASELINES
from evidence.tables import primary


def fertility(table: pd.DataFrame) -> str:
    """On word pieces a word; columns domain, language, pieces a word."""
    column = "pieces a word"
    few, many = table.loc[table[column].idxmin()], table.loc[table[column].idxmax()]
    ends = [f"{row[column]:.2f} ({row['domain']}, {shown(row['language'])})" for row in (few, many)]
    wide = table.pivot(index="domain", columns="language", values=column).dropna(axis=1)  # what all domains have
    by = ", ".join(f"{value:.2f} in {domain} text" for domain, value in wide.mean(axis=1).sort_values().items())
    over = f"; in {', '.join(map(shown, wide))} {by}" if len(wide.columns) else ""
    return f"A word takes {ends[0]} to {ends[1]} word pieces{over}."


def overlap(table: pd.DataFrame) -> str:
    """On words in common; a square table with corpora called <domain>-<language> as index and columns."""
    names = [name.rsplit("-", 1) for name in table.index]
    shares: dict[str, list[float]] = {"of one language": [], "of one domain": []}
    for i, (domain, language) in enumerate(names):
        for j, (other, tongue) in enumerate(names[:i]):
            if (language == tongue) != (domain == other) and np.isfinite(table.iloc[i, j]):
                shares["of one language" if language == tongue else "of one domain"].append(float(table.iloc[i, j]))
    said = [f"two corpora {kind} share {np.mean(found):.0%}" for kind, found in shares.items() if found]
    return f"Of their most frequent words {' and '.join(said)} on average." if said else ""


def probes(table: pd.DataFrame, *, control: str) -> str:
    """On what the layers know; columns task, arm, layer, macro_f1, chance."""
    if table.empty:
        return ""
    means = table.groupby(["arm", "layer"])["macro_f1"].mean()  # over the tasks
    arm, layer = means.idxmax()
    said = f"Entity types can be read best off layer {layer} of {table['layer'].max()} of {shown(arm)} "
    said += f"({means.max():.2f} macro F1, mean of the tasks; chance {table['chance'].mean():.2f}; "
    said += f"the highest of {len(means)})"
    others = means.get(control) if arm != control else None
    return said + ("." if others is None else f"; off {shown(control)} {others.max():.2f}, at layer {others.idxmax()}.")


def worth(table: pd.DataFrame) -> str:
    """On what adaptation is worth in labelled items; rows of `budgets.WORTH`."""
    said = []
    for row in table.to_dict("records"):
        what = ("saves" if row["saved"] >= 0 else "costs") + " at least" * row["bounded"]
        arm, control = (shown(row[side]).split(" (")[0].lower() for side in ("arm", "control"))
        if row["bounded"] and not row["saved"]:
            both = f"On {shown(row['task'])} both arms, {arm} and {control}, reach the control's score"
            said.append(f"{both} with the fewest labels tried: what adaptation saves cannot be told")
            continue
        known = [_interval(row["low"], row["high"]), "the shares tried can show no more" * row["bounded"]]
        certain = row["low"] > 0 or row["high"] < 0
        found = f"{what} {abs(row['saved']):.0f}" if certain else f"is not shown to save any: {row['saved']:+.0f}"
        said.append(
            f"On {shown(row['task'])} {arm} adaptation {found.replace('-', '−')} of {row['items']} labelled items "
            f"against {control} text ({'; '.join(filter(None, known))})"
        )
    return "; ".join(said) + "." if said else ""


def _interval(low: float, high: float) -> str:
    """An interval of labelled items in words, which may have one end or none."""
    ends = [f"{end:+.0f}".replace("-", "−") if np.isfinite(end) else "" for end in (low, high)]
    if low == high or not any(ends):
        return ""
    return "interval " + (" to ".join(ends) if all(ends) else f"from {ends[0]} up" if ends[0] else f"up to {ends[1]}")


def gains(table: pd.DataFrame) -> str:
    """On how gains in masked-token loss and in score go together; columns task, arm, loss_gain, score_gain."""
    found = associations(table, pairs=[("loss_gain", "score_gain")]).iloc[0]
    if np.isnan(found["spearman"]):
        return "There are too few arms to say whether gains in loss and in score go together."
    return (
        f"Over {found['n']} pairs of task and arm, Spearman's rho between gains in masked-token loss and in score is "
        f"{found['spearman']:.2f}; the arms of a task share one control, so this describes and proves nothing."
    )


def alignment(table: pd.DataFrame) -> str:
    """On terms in two languages; columns arm, one, other, cka, cka_chance, retrieval, chance, distance."""
    if table.empty:
        return ""
    best = table.loc[table["retrieval"].idxmax()]
    by_pair = (
        table.groupby(["one", "other"])
        .agg({"cka": "mean", "cka_chance": "mean", "distance": "first"})
        .sort_values("distance")
    )
    pairs = [
        f"{shown(one)} and {shown(other)} {row['cka']:.2f} (paired at random {row['cka_chance']:.2f}; "
        f"syntactic distance {row['distance']:.3f})"
        for (one, other), row in by_pair.iterrows()
    ]
    return (
        f"The translation of a term is its nearest neighbour in at most {best['retrieval']:.1%} of cases "
        f"({shown(best['arm'])}, {shown(best['one'])} and {shown(best['other'])}; by chance {best['chance']:.1%}). "
        f"Linear CKA, mean over arms: {'; '.join(pairs)}."
    )


def left_out(claim: dict[str, Any]) -> str:
    """On what the interval of an inconclusive claim, a row of claims.json, leaves out; empty for others."""
    if claim["verdict"] != "inconclusive" or claim.get("difference") is None:
        return ""
    if claim["high"] - claim["low"] < 1e-9 and abs(claim["difference"]) < 1e-9:
        return "All compared scores are the same."
    if claim["low"] <= 0 <= claim["high"]:
        return f"The interval leaves out gains above {claim['high']:.3f} and losses beyond {abs(claim['low']):.3f}."
    what = "corrected for the number of questions p is not below the level, or one comparison says the opposite"
    return f"Zero lies outside the interval, but {what}."


def below_baseline(metrics: pd.DataFrame) -> str:
    """On tasks where no arm beats what is simple; rows of results/metrics.csv."""
    said = []
    for task, part in primary(metrics).groupby("task", sort=False):
        means = part.groupby("arm")["value"].mean()
        simple, arms = means[means.index.isin(BASELINES)], means[~means.index.isin(BASELINES)]
        if len(simple) and len(arms) and arms.max() <= simple.max():
            best = f"{arms.max():.3f} ({shown(arms.idxmax())})"
            said.append(f"{shown(task)} {best} against {simple.max():.3f} ({shown(simple.idxmax()).lower()})")
    if not said:
        return ""
    return f"No arm beats the baseline on {'; '.join(said)}: no compared arm does better there."


def beside_random(metrics: pd.DataFrame, arms: Sequence[str]) -> str:
    """On tasks where the first of `arms` is no better than another with random weights; rows of results/metrics.csv."""
    means = primary(metrics).groupby(["task", "arm"], sort=False)["value"].mean().unstack("arm")
    random = means.drop(columns=[*arms, *BASELINES], errors="ignore").max(axis=1)
    base = means.reindex(columns=arms[:1]).max(axis=1)
    said = [f"{shown(task)} ({random[task]:.3f} against {base[task]:.3f})" for task in means.index[random >= base]]
    return f"Random weights do as well as the base on {', '.join(said)}: its reading is no help there." if said else ""


def beside_base(metrics: pd.DataFrame, base: str) -> str:
    """On arms beside the one that they come from; rows of results/metrics.csv."""
    means = primary(metrics).groupby(["task", "arm"], sort=False)["value"].mean().unstack("arm")
    if base not in means or means[base].isna().all():
        return ""
    gains = means.dropna(subset=base).drop(columns=[base, *BASELINES], errors="ignore").sub(means[base], axis=0)
    said = [
        f"on {shown(task)} " + ", ".join(f"{shown(arm)} {gain:+.3f}" for arm, gain in of_task.dropna().items())
        for task, of_task in gains.iterrows()
        if of_task.notna().any()
    ]
    if not said:
        return ""
    return (
        f"Beside {shown(base)} as it is: {'; '.join(said)}. Part of this is more training, or less, so it gets no "
        "verdict: claims compare arms that read as much."
    )


def mentions(table: pd.DataFrame, *, control: str) -> str:
    """On recall of mentions that training labels lack and medical text has; columns task, arm, group, recall."""
    rows = table[~table["arm"].isin(BASELINES)].groupby(["task", "group", "arm"], sort=False)["recall"].mean()
    said = []
    for task, part in rows.groupby(level="task", sort=False):
        by = part.droplevel("task").unstack("group").reindex(columns=[*GROUPS[:2]])
        seen, unseen = (by[group].dropna() for group in GROUPS[:2])
        if control in unseen and len(unseen) > 1:
            best = unseen.drop(control).idxmax()
            both = control in seen and best in seen
            known = f"; of those in the training labels {seen[best]:.1%} and {seen[control]:.1%}" if both else ""
            found = f"{unseen[best]:.1%} ({shown(best)}), the control {unseen[control]:.1%}"
            said.append(f"{found} in {shown(task)}{known}")
    whose = "Of the test mentions that are missing from the training labels but occur in medical text"
    return f"{whose}, the best other arm finds {'; '.join(said)}.{_known(table)}" if said else ""


def _known(table: pd.DataFrame) -> str:
    """On how many of the mentions that training labels lack medical text can teach at all."""
    counts = table.groupby(["task", "group"], sort=False)["gold"].max().unstack("group").reindex(columns=GROUPS[1:])
    told = [f"{there:.0f} of {there + no:.0f} in {shown(t)}" for t, there, no in counts.fillna(0).itertuples()]
    rest = ": the rest it cannot teach directly" if counts[GROUPS[2]].sum() else ""
    return (
        f" Medical text contains, of the mentions that are missing from the training labels, {', '.join(told)}{rest}."
    )


def beyond_seen(table: pd.DataFrame) -> str:
    """On gains in recall of unseen mentions less those of seen ones; rows of `claims.BEYOND`."""
    said = [
        f"{shown(row['task'])} {row['gain_on_unseen']:+.3f} and {row['gain_on_seen']:+.3f} "
        f"(difference {row['difference']:+.3f}, interval {row['low']:+.3f} to {row['high']:+.3f})"
        for row in table.to_dict("records")
    ]
    if not said:
        return ""
    above = int((table["low"] > 0).sum())
    rest = "" if above == len(table) else "; elsewhere nothing says that words were learnt"
    where = f"in {above} of {len(table)}{rest}" if above else "nowhere: nothing says that words were learnt"
    return (
        f"Gains in recall, of mentions missing from the training labels and of those in them: {'; '.join(said)}. The "
        f"first is larger, beyond chance, {where}."
    )


def transfer(table: pd.DataFrame) -> str:
    """On tests of another task; columns task, test, distance, arm, value, there (mean F1)."""
    both = table[(table["there"] > 0) & ~table["arm"].isin(BASELINES)]
    if both.empty:
        return ""
    means = both.groupby(["task", "test"], sort=False)[["value", "there", "distance"]].mean().sort_values("distance")
    kept = means["value"] / means["there"]
    by_pair = [
        f"{shown(task)} to {shown(test)} {kept[task, test]:.0%} (syntactic distance {row['distance']:.3f})"
        for (task, test), row in means.iterrows()
    ]
    return (
        f"A model tested on a task that it was not fine-tuned on reaches {kept.mean():.0%} of the F1 that the same "
        f"arm has when fine-tuned there, on the labels that both tasks have, mean of the {len(kept)} pairs of trained "
        f"tasks: {'; '.join(by_pair)}.{_beside_look_up(table)}"
    )


def _beside_look_up(table: pd.DataFrame) -> str:
    """On how many tests of another task the best arm beats what is simple."""
    away = table[table["task"] != table["test"]]
    simple = away["arm"].isin(BASELINES)
    best, by_hand = (away[side].groupby(["task", "test"])["value"].max() for side in (~simple, simple))
    both = pd.concat([best, by_hand], axis=1, keys=["arm", "simple"]).dropna()
    if both.empty:
        return ""
    above = both[both["arm"] > both["simple"]]
    return f" The look-up is beaten by the best arm on {len(above)} of all {len(both)} pairs of task and test."


def text(statistics: pd.DataFrame) -> str:
    """On the corpora; rows of corpora/statistics.csv."""
    kept = statistics[statistics["reason"] == "kept"]
    return (
        f"The run's {len(kept.groupby(['domain', 'language']))} corpora have {kept['documents'].sum():,} documents and "
        f"{kept['characters'].sum() / 1e6:.1f} million characters after cleaning. A gate stops the run when a document "
        "of a task's development or test part is found in them, exactly or nearly."
    )


def base(run: Path, profile: dict[str, Any]) -> str:
    """On the base of a run, read off its configuration."""
    arm = profile["arms"][0]["name"]
    config = json.loads((run / "models" / arm / "config.json").read_text("utf-8"))
    origin = profile["base"]["hub"] or profile["base"]["folder"] or "trained from scratch"
    return (
        f"The base ({config['model_type']}, {origin}) has {config['num_hidden_layers']} layers of width "
        f"{config['hidden_size']} and {config['vocab_size']:,} word pieces."
    )


def seeds(profile: dict[str, Any]) -> str:
    """On the seeds and copies of a profile."""
    kinds = {task["kind"] for task in profile["tasks"]}
    said = [
        f"{len(profile[kind]['seeds'])} seeds for {name}"
        for kind, name in (("ner", "entities"), ("screening", "screening"))
        if kind in kinds
    ]
    copies = [f"{shown(arm['name'])} {arm['copies']}" for arm in profile["arms"] if arm["copies"] > 1]
    times = f" Pre-training copies, which the seeds use in turn: {', '.join(copies)}." if copies else ""
    return f"Every arm is fine-tuned with {' and '.join(said)}.{times}"


def why(results: Path, control: str) -> list[str]:
    """The sentences of a run's analyses, those that have something to say; read from its results/."""
    shared = pd.read_csv(results / "overlap.csv", index_col="corpus")
    names = ("fertility", "gains", "alignment", "mentions", "beyond_seen", "transfer", "probes", "worth")
    tables = {name: pd.read_csv(results / f"{name}.csv") for name in names}
    said = [overlap(shared), fertility(tables["fertility"]), gains(tables["gains"])]
    said += [mentions(tables["mentions"], control=control), beyond_seen(tables["beyond_seen"])]
    said.append(probes(tables["probes"], control=control))
    said += [transfer(tables["transfer"]), alignment(tables["alignment"])]
    said.append(worth(tables["worth"]))
    return [sentence for sentence in said if sentence]
