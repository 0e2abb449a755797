"""Figures of screened patients: how they are ranked, and whether a probability can be taken at its word."""

from collections.abc import Iterable
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from common.names import shown
from evidence.baselines import NAMES as BASELINES
from evidence.scores import share_interval
from helpers.style import STYLE, colours, needed, panels


def precision_recall(rows: pd.DataFrame, *, width_mm: float = 160, synthetic: bool = False) -> Figure:
    """Screening on the test patients: precision against recall, mean over seeds by arm; prevalence and baseline.

    `rows`: screening predictions of arms and seeds. Precision at a recall is that of the first threshold to reach it.
    """
    # Every stage that draws loads this module, and one figure needs scikit-learn.
    from sklearn.metrics import average_precision_score, precision_recall_curve

    rows = needed(rows, ["arm", "seed", "split", "label", "score"])
    rows = needed(rows[rows["split"] == "test"], [])
    recalls = np.linspace(0.005, 1, 200)
    with mpl.rc_context(STYLE):
        figure, axes = panels(1, 1, width_mm, 85, synthetic)
        for arm, part in rows.groupby("arm", sort=False):
            lines, areas = [], []
            for _, fit in part.groupby("seed"):
                precision, recall, _ = precision_recall_curve(fit["label"], fit["score"])
                first = len(recall) - 1 - np.searchsorted(recall[::-1], recalls - 1e-9)
                lines.append(precision[first])
                areas.append(average_precision_score(fit["label"], fit["score"]))
            label = f"{shown(arm)} ({np.mean(areas):.2f})"
            axes[0, 0].plot(recalls, np.mean(lines, axis=0), label=label, **_line(arm, rows["arm"]))
        share = rows["label"].mean()
        axes[0, 0].axhline(share, color="0.5", linestyle=":", label=f"Prevalence ({share:.2f})")
        axes[0, 0].set(xlabel="Recall (share of positives found)", ylabel="Precision (share of flagged)")
        axes[0, 0].set(xlim=(0, 1), ylim=(0, 1.02))
        figure.legend(loc="outside right center", title="Arm (AUPRC)", title_fontsize=8)
    return figure


def _line(arm: str, arms: Iterable[str]) -> dict[str, Any]:
    """How the line of an arm looks beside those of `arms`; a baseline's is dashed."""
    return {"color": "0.15", "linestyle": "--"} if arm in BASELINES else {"color": colours(arms)[arm]}


def calibration_curve(rows: pd.DataFrame, *, width_mm: float = 160, synthetic: bool = False) -> Figure:
    """Screening on the test patients: the share of positives against the predicted probability, by arm, seeds pooled.

    `rows`: screening predictions with probabilities. Eight groups of equal size by probability; a point is a group's
    mean, with the share's 95 % interval for as many patients as one seed has in a group: seeds are no new patients.
    The dotted line is where both agree.
    """
    rows = needed(rows, ["arm", "seed", "split", "label", "probability"])
    rows = needed(rows[(rows["split"] == "test") & rows["probability"].notna()], [])
    with mpl.rc_context(STYLE):
        figure, axes = panels(1, 1, width_mm, 85, synthetic)
        for arm, part in rows.groupby("arm", sort=False):
            group = (part["probability"].rank(method="first") - 1) * 8 // len(part)
            means = part.groupby(group)[["probability", "label"]].mean()
            looks = _line(arm, rows["arm"])
            axes[0, 0].plot(means["probability"], means["label"], marker="o", markersize=4, label=shown(arm), **looks)
            ends = share_interval(means["label"], part.groupby(group).size() / part["seed"].nunique())
            axes[0, 0].vlines(means["probability"], *ends, color=looks["color"], linewidth=0.8, alpha=0.6)
        top = 1.05 * max(axes[0, 0].get_xlim()[1], axes[0, 0].get_ylim()[1])
        axes[0, 0].plot([0, top], [0, top], color="0.5", linestyle=":", label="As predicted")
        axes[0, 0].set(xlabel="Predicted probability (mean of a group)", ylabel="Share of positives in the group")
        axes[0, 0].set(xlim=(0, top), ylim=(0, top))
        figure.legend(loc="outside right center", title="Arm", title_fontsize=8)
    return figure
