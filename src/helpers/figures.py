"""The study's figures: each a function from a tidy table to a matplotlib figure; those of patients are in `ranking`."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from common.names import GROUPS, shown, shown_corpus
from evidence.baselines import NAMES as BASELINES
from evidence.tables import primary
from helpers.style import MARKERS, STYLE, VERDICTS, colours, legend, needed, panels

LIGHT = 0.47  # from here on cividis is so light that black stands out more than white (relative luminance .179)


def loss_curves(curves: pd.DataFrame, *, width_mm: float = 160, synthetic: bool = False) -> Figure:
    """Held-out loss against word pieces read: a row of panels a domain, a column a language, a line an arm.

    `curves`: columns arm, tokens, domain, language, loss (nats a masked token).
    """
    needed(curves, ["arm", "tokens", "domain", "language", "loss"])
    domains, languages, arms = (list(dict.fromkeys(curves[column])) for column in ("domain", "language", "arm"))
    with mpl.rc_context(STYLE):
        size = (len(domains), len(languages), width_mm, 18 + 38 * len(domains))
        figure, axes = panels(*size, synthetic, sharex=True, sharey="row")
        for (i, j), panel in np.ndenumerate(axes):
            part = curves[(curves["domain"] == domains[i]) & (curves["language"] == languages[j])]
            for k, arm in enumerate(arms):
                line = part[part["arm"] == arm].sort_values("tokens")
                style = {"color": colours(arms)[arm], "marker": MARKERS[k % len(MARKERS)], "markersize": 3}
                style["linestyle"] = "--" if shown(arm).endswith("only") else "-"  # of text in one language
                panel.plot(line["tokens"] / 1e6, line["loss"], label=shown(arm), **style)
            if part.empty:
                panel.annotate("no text", (0.5, 0.5), xycoords="axes fraction", ha="center", color="0.4", fontsize=8)
            panel.set_title(shown_corpus(f"{domains[i]}-{languages[j]}"))
        axes[-1, len(languages) // 2].set_xlabel("Word pieces read by this arm (millions)")
        figure.supylabel("Held-out loss (nats a masked token)", fontsize=9)
        legend(figure, axes[0, 0], 3)
    return figure


def task_scores(metrics: pd.DataFrame, *, width_mm: float = 160, synthetic: bool = False) -> Figure:
    """In-task test scores: a panel a task, a row an arm, a point a seed, a bar their mean, a dashed line the baseline.

    `metrics`: rows of results/metrics.csv. Strict F1 where a task has none of AUPRC, else AUPRC.
    """
    rows = primary(needed(metrics, ["task", "test", "arm", "split", "label", "metric", "value"]))
    tasks, arms = (list(dict.fromkeys(needed(rows, [])[column])) for column in ("task", "arm"))
    arms = [arm for arm in arms if arm not in BASELINES]
    with mpl.rc_context(STYLE):
        figure, axes = panels(1, len(tasks), width_mm, 24 + 7 * len(arms), synthetic, sharey=True)
        for panel, task in zip(axes[0], tasks, strict=True):
            part = rows[rows["task"] == task]
            _strips(panel, part, arms)
            for _, line in part[part["arm"].isin(BASELINES)].iterrows():
                panel.axvline(line["value"], color="0.2", linestyle="--", linewidth=1)
                label = {"xy": (line["value"], 1.0), "xycoords": ("data", "axes fraction"), "fontsize": 7}
                low, high = panel.get_xlim()
                share = (line["value"] - low) / (high - low)
                side = (-2, "right") if share > 0.65 else (2, "left") if share < 0.35 else (0, "center")
                label |= {"xytext": (side[0], -8), "textcoords": "offset points", "ha": side[1]}
                panel.annotate(shown(line["arm"]), **label, color="0.2")
            panel.set(title=shown(task), xlabel=f"{shown(part['metric'].iloc[0])} (0 to 1)")
        axes[0, 0].set(ylim=(len(arms) - 0.4, -1.1))  # room for the baselines' names
    return figure


def budget_curves(points: pd.DataFrame, *, width_mm: float = 160, synthetic: bool = False) -> Figure:
    """Score against labelled items: a panel a task, a line an arm with its interval; from `budgets.measure`."""
    needed(points, ["task", "arm", "items", "metric", "score", "low", "high"])
    tasks, arms = (list(dict.fromkeys(points[column])) for column in ("task", "arm"))
    with mpl.rc_context(STYLE):
        figure, axes = panels(1, len(tasks), width_mm, 80, synthetic)
        for panel, task in zip(axes[0], tasks, strict=True):
            part = points[points["task"] == task]
            for k, arm in enumerate(arms):
                line, colour = part[part["arm"] == arm].sort_values("items"), colours(arms)[arm]
                style = {"color": colour, "marker": MARKERS[k % len(MARKERS)], "markersize": 4}
                panel.plot(line["items"], line["score"], label=shown(arm), **style)
                panel.fill_between(line["items"], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
            counts = sorted(set(part["items"]))
            panel.set(title=shown(task), xscale="log", xlabel="Labelled items learnt from (log scale)")
            panel.set_xticks(counts, map("{:,}".format, counts))
            panel.minorticks_off()
            panel.set_ylabel(f"{shown(part['metric'].iloc[0])} (0 to 1)")
        legend(figure, axes[0, 0], 4)
    return figure


def forest(
    comparisons: pd.DataFrame, again: Sequence[Sequence[float]] = (), *, width_mm: float = 160, synthetic: bool = False
) -> Figure:
    """Paired differences with their intervals, coloured by verdict, a row a comparison; from `claims.assess`.

    `again`: the same differences in other trainings, any number a row, as hollow points below.
    """
    needed(comparisons, ["claim", "task", "test", "arm", "against", "metric", "difference", "low", "high", "verdict"])
    table = comparisons.reset_index(drop=True)
    with mpl.rc_context(STYLE):
        figure, axes = panels(1, 1, width_mm, 26 + 8.5 * len(table), synthetic)
        panel = axes[0, 0]
        for verdict, part in table.groupby("verdict"):
            errors = [part["difference"] - part["low"], part["high"] - part["difference"]]
            style = {"fmt": "o", "color": VERDICTS[str(verdict)], "label": verdict, "capsize": 2}
            panel.errorbar(part["difference"], part.index, xerr=np.abs(np.array(errors, dtype=float)), **style)
        if others := [(value, y + 0.25) for y, some in enumerate(again) for value in some]:
            panel.plot(*zip(*others, strict=True), "o", color="0.2", markerfacecolor="w", label="other trainings")
        for y in table.index[table["claim"] != table["claim"].shift()][1:]:
            panel.axhline(y - 0.5, color="0.6", linewidth=0.6)
        for y in table.index[table["difference"].isna()]:
            panel.annotate("not testable here", (0, y), (4, -3), textcoords="offset points", fontsize=7, color="0.4")
        panel.axvline(0, color="0.2", linewidth=1)
        panel.set(yticks=table.index, ylim=(len(table) - 0.5, -0.5), xlabel="Difference of scores (points of 0 to 1)")
        panel.locator_params(axis="x", nbins=6)
        panel.set_yticklabels([_compared(row) for row in table.to_dict("records")], fontsize=7.5)
        legend(figure, panel, 4)
    return figure


def _compared(row: dict) -> str:
    """A comparison in one line of text."""
    where = shown(row["task"]) if row["test"] == row["task"] else f"{shown(row['task'])} → {shown(row['test'])}"
    only = "" if row.get("mentions", "all") == "all" else f" of {row['mentions']} mentions"
    arms = " − ".join(shown(row[side]).split(" (")[0] for side in ("arm", "against"))
    return f"{row['claim']}  {arms}\n{where}, {shown(row['metric'])}{only}"


def _heat(panel: Axes, table: pd.DataFrame, labels: np.ndarray, title: str) -> None:
    """An annotated heat map of values from 0 to 1."""
    import seaborn as sns  # here, as the pages without a map would wait a second for it

    bar = {"label": title, "shrink": 0.8}
    style = {"vmin": 0, "vmax": 1, "cmap": "cividis", "linewidths": 0.5, "cbar_kws": bar, "annot_kws": {"fontsize": 8}}
    sns.heatmap(table, annot=labels, fmt="", square=True, ax=panel, **style)
    values = table.to_numpy(float).ravel()
    for text, value in zip(panel.texts, values[~np.isnan(values)], strict=True):
        text.set_color("k" if value > LIGHT else "w")
    panel.tick_params(left=False, bottom=False)
    panel.set_xticklabels(panel.get_xticklabels(), rotation=35, ha="right", rotation_mode="anchor")
    panel.set_yticklabels(panel.get_yticklabels(), rotation=0)


def transfer_matrix(metrics: pd.DataFrame, *, width_mm: float = 160, synthetic: bool = False) -> Figure:
    """Mean strict F1 of models trained on a row's task and tested on a column's, of each cell's best arm.

    `metrics`: rows of results/metrics.csv. In-task cells use the task's own labels, others the shared ones.
    """
    rows = needed(metrics, ["task", "test", "arm", "split", "label", "metric", "value"])
    rows = rows[(rows["metric"] == "f1") & (rows["label"] == "all") & (rows["split"] == "test")]
    rows = rows[~rows["arm"].isin(BASELINES) & rows["task"].isin(rows.loc[rows["task"] != rows["test"], "task"])]
    means = needed(rows, []).groupby(["task", "test", "arm"], sort=False)["value"].mean().reset_index()
    best = means.loc[means.groupby(["task", "test"], sort=False)["value"].idxmax()]
    tests, tasks = list(dict.fromkeys([*best["task"], *best["test"]])), list(dict.fromkeys(best["task"]))
    table, names = (best.pivot(index="task", columns="test", values=v).loc[tasks, tests] for v in ("value", "arm"))
    names = names.map(lambda name: shown(name).replace(", ", ",\n"), na_action="ignore").fillna("")
    labels = np.where(table.isna(), "", table.round(2).map("{:.2f}".format)) + "\n" + names.to_numpy(dtype=str)
    with mpl.rc_context(STYLE):
        figure, axes = panels(1, 1, width_mm, 30 + 26 * len(table), synthetic)
        _heat(axes[0, 0], table.rename(index=shown, columns=shown), labels, "Strict F1")
        axes[0, 0].set(xlabel="Tested on", ylabel="Trained on", title="Best arm of each cell")
    return figure


def overlap_map(table: pd.DataFrame, *, words: int, width_mm: float = 160, synthetic: bool = False) -> Figure:
    """Heat map of the square table of `analysis.vocabulary_overlap`, taken over the `words` most frequent words.

    Its rows and columns are called <domain>-<language>.
    """
    needed(table, [])
    labels = np.where(table.isna(), "", (100 * table).map("{:.0f}".format))
    with mpl.rc_context(STYLE):
        figure, axes = panels(1, 1, width_mm, 30 + 0.62 * width_mm, synthetic)
        _heat(axes[0, 0], table.rename(index=shown_corpus, columns=shown_corpus), labels, "Share of words in common")
        figure.axes[-1].yaxis.set_major_formatter(PercentFormatter(1))
        axes[0, 0].set(title=f"Overlap of up to {words:,} most frequent words (%)", xlabel="", ylabel="")
    return figure


def recall_groups(table: pd.DataFrame, *, width_mm: float = 160, synthetic: bool = False) -> Figure:
    """Recall of mentions by where they were seen before: panels a task and group, in each a row an arm, a point a seed.

    `table`: that of `analysis.recall_by_group`, in-task rows. A dashed line is the baseline, where it finds any.
    """
    needed(table, ["task", "arm", "seed", "group", "gold", "recall"])
    tasks, groups = list(dict.fromkeys(table["task"])), [group for group in GROUPS if group in set(table["group"])]
    arms = {
        task: [arm for arm in dict.fromkeys(part["arm"]) if arm not in BASELINES]
        for task, part in table.groupby("task")
    }
    heights = [12 + 4.5 * len(arms[task]) for task in tasks]
    with mpl.rc_context(STYLE):
        how = {"sharey": "row", "height_ratios": heights}
        figure, axes = panels(len(tasks), len(groups), width_mm, 8 + sum(heights), synthetic, **how)
        for (i, j), panel in np.ndenumerate(axes):
            part = table[(table["task"] == tasks[i]) & (table["group"] == groups[j])]
            _strips(panel, part.rename(columns={"recall": "value"}), arms[tasks[i]])
            found = part.loc[part["arm"].isin(BASELINES) & (part["recall"] > 0), "recall"]
            if len(found):
                panel.axvline(found.mean(), color="0.2", linestyle="--", linewidth=1)
            panel.set_title(f"{shown(tasks[i])}\n{groups[j]} ({part['gold'].max() if len(part) else 0:,})")
        axes[-1, len(groups) // 2].set_xlabel("Strict recall (0 to 1)")
    return figure


def _strips(panel: Axes, rows: pd.DataFrame, arms: Sequence[str]) -> None:
    """A row an arm: a point for each of its values, and a bar, their mean."""
    for y, arm in enumerate(arms):
        values = rows.loc[rows["arm"] == arm, "value"]
        if len(values):  # a mean of nothing has no place, and the layout of all panels fails over it
            panel.plot(values, [y] * len(values), "o", color=colours(arms)[arm], alpha=0.6, clip_on=False)
            panel.plot([values.mean()] * 2, [y - 0.32, y + 0.32], color=colours(arms)[arm], linewidth=2.2)
    panel.set(yticks=range(len(arms)), yticklabels=map(shown, arms), ylim=(len(arms) - 0.4, -0.6))
    panel.locator_params(axis="x", nbins=4)
