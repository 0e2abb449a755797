"""One sentence for each analysis, made from its table: what the numbers say, with the numbers."""

import numpy as np
import pandas as pd

from evidence.analysis import associations
from evidence.baselines import NAMES as BASELINES
from helpers.names import shown
from helpers.tables import primary


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
            kind = {(True, False): "of one language", (False, True): "of one domain"}.get(
                (language == tongue, domain == other)
            )
            if kind:
                shares[kind].append(float(table.iloc[i, j]))
    said = [f"two corpora {kind} share {np.mean(found):.0%}" for kind, found in shares.items() if found]
    return f"Of their most frequent words {' and '.join(said)} on average." if said else ""


def probes(table: pd.DataFrame, *, control: str) -> str:
    """On what the layers know; columns task, arm, layer, macro_f1, chance."""
    if table.empty:
        return ""
    means = table.groupby(["arm", "layer"])["macro_f1"].mean()  # over the tasks
    arm, layer = means.idxmax()
    said = f"Entity types can be read best off layer {layer} of {table['layer'].max()} of {shown(arm)} "
    said += f"({means.max():.2f} macro F1, mean of the tasks; chance {table['chance'].mean():.2f})"
    others = means.get(control) if arm != control else None
    return said + ("." if others is None else f"; off {shown(control)} {others.max():.2f}, at layer {others.idxmax()}.")


def worth(table: pd.DataFrame) -> str:
    """On what adaptation is worth in labelled items; rows of `budgets.WORTH`."""
    said = []
    for row in table.to_dict("records"):
        what = ("saves" if row["saved"] >= 0 else "costs") + " at least" * row["bounded"]
        arm, control = (shown(row[side]).split(" (")[0].lower() for side in ("arm", "control"))
        known = [_interval(row["low"], row["high"]), "the shares tried can show no more" * row["bounded"]]
        said.append(
            f"On {shown(row['task'])} {arm} adaptation {what} {abs(row['saved']):.0f} of {row['items']} labelled items "
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
    return (
        f"No arm beats the baseline on {'; '.join(said)}: arms are compared there that know less than what is simple."
    )


def beside_base(metrics: pd.DataFrame, base: str) -> str:
    """On arms beside the one that they come from; rows of results/metrics.csv."""
    means = primary(metrics).groupby(["task", "arm"], sort=False)["value"].mean().unstack("arm")
    if base not in means or means[base].isna().all():
        return ""
    gains = means.dropna(subset=base).drop(columns=[base, *BASELINES], errors="ignore").sub(means[base], axis=0)
    said = ", ".join(
        f"{shown(arm)} {of_arm.mean():+.3f} ({', '.join(map(shown, of_arm.index))})"
        for arm, of_arm in ((arm, gains[arm].dropna()) for arm in gains)
        if len(of_arm)
    )
    if not said:
        return ""
    return (
        f"Beside {shown(base)} as it is, mean over the tasks that both are fine-tuned on: {said}. More training "
        "has its share in it, so there is no verdict on it: claims set arms beside such as have read as much."
    )


def mentions(table: pd.DataFrame, *, control: str) -> str:
    """On recall of mentions that training labels lack and medical text has; columns task, arm, group, recall."""
    rows = table[(table["group"] == "in medical text") & ~table["arm"].isin(BASELINES)]
    rows = rows.groupby(["task", "arm"], sort=False)["recall"].mean()
    said = []
    for task, part in rows.groupby(level="task", sort=False):
        by = part.droplevel("task")
        if control in by:
            said.append(
                f"{by.max():.1%} ({shown(by.idxmax())}) against {by[control]:.1%} of the control in {shown(task)}"
            )
    whose = "Of the mentions that the training labels lack and the medical text has"
    return f"{whose}, the best arm finds {'; '.join(said)}." if said else ""


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
        f"arm has when fine-tuned there, on the labels that both tasks have, mean of {len(kept)} pairs: "
        f"{'; '.join(by_pair)}."
    )
