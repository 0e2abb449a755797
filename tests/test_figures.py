"""Each figure shows what its table holds, says its units, and is the same bytes every time."""

import re
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from scipy.stats import binomtest

from common import names
from common.names import GROUPS, SYNTHETIC
from common.project import Mistake
from helpers import figures, ranking, style

ARMS = ["general", "clinical", "my_arm"]
CURVES = pd.DataFrame(
    [
        (arm, t, d, lang, 5 - t / 1e6)
        for arm in ARMS
        for d in ("general", "clinical")
        for lang in ("nl", "ro")
        for t in (0, 1e6)
    ],
    columns=["arm", "tokens", "domain", "language", "loss"],
)
METRICS = pd.DataFrame(
    [
        ("ner_ro", test, arm, seed, "f1", 0.5 + seed / 10)
        for test in ("ner_ro", "ner_nl")
        for arm in ARMS
        for seed in (1, 2)
    ]
    + [("screening_nl", "screening_nl", arm, seed, "auprc", 0.3) for arm in ARMS for seed in (1, 2)]
    + [("ner_ro", "ner_ro", "dictionary", 0, "f1", 0.2), ("ner_ro", "ner_nl", "dictionary", 0, "f1", 0.9)],
    columns=["task", "test", "arm", "seed", "metric", "value"],
).assign(split="test", label="all")
COMPARISONS = pd.DataFrame(
    [("C1", "ner_ro", 0.1, 0.05, 0.15, "supported"), ("C3a", "ner_nl", np.nan, np.nan, np.nan, "not testable here")],
    columns=["claim", "test", "difference", "low", "high", "verdict"],
).assign(task="ner_ro", arm="clinical", against="general", metric="f1", mentions="all")
PATIENTS = pd.DataFrame(
    [(arm, seed, i % 4 == 0, i % 4 == 0) for arm in [*ARMS, "keywords"] for seed in (1, 2) for i in range(40)],
    columns=["arm", "seed", "label", "score"],
).assign(split="test")
PATIENTS[["label", "score"]] = PATIENTS[["label", "score"]].astype(float)
PATIENTS["probability"] = PATIENTS["score"].where(PATIENTS["arm"] != "keywords")
OVERLAP = pd.DataFrame([[1, 0.25], [0.25, 1]], ["general-nl", "clinical-ro"], ["general-nl", "clinical-ro"])
RECALLS = pd.DataFrame(
    [("ner_ro", arm, seed, group, 10, 0.5) for arm in ARMS for seed in (1, 2) for group in GROUPS],
    columns=["task", "arm", "seed", "group", "gold", "recall"],
)
BUDGETS = pd.DataFrame(
    [("ner_ro", arm, items, "f1", items / 200, 0.2, 0.6) for arm in ARMS for items in (20, 60, 100)],
    columns=["task", "arm", "items", "metric", "score", "low", "high"],
)
ALL = {
    "labels": (figures.budget_curves, BUDGETS, {}),
    "loss": (figures.loss_curves, CURVES, {}),
    "tasks": (figures.task_scores, METRICS, {}),
    "forest": (figures.forest, COMPARISONS, {}),
    "transfer": (figures.transfer_matrix, METRICS, {}),
    "curve": (ranking.precision_recall, PATIENTS, {}),
    "calibration": (ranking.calibration_curve, PATIENTS, {}),
    "overlap": (figures.overlap_map, OVERLAP, {"words": 1000}),
    "recall": (figures.recall_groups, RECALLS, {}),
}


def texts(figure):
    """All texts of a figure, in one string."""
    return "\n".join(text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text")))


@pytest.mark.parametrize("name", ALL)
def test_every_figure_is_labelled_marked_and_reproducible(name, tmp_path):
    draw, table, more = ALL[name]
    before = table.copy()
    first, second = (
        style.save(draw(table, synthetic=True, **more), tmp_path / str(i), name, ["png", "svg"], 60) for i in (1, 2)
    )
    assert [path.name for path in first] == [f"{name}.png", f"{name}.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert not re.search(rb"<dc:date>", first[1].read_bytes())
    figure = draw(table, synthetic=True, width_mm=120, **more)
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(120)
    assert SYNTHETIC in texts(figure)
    assert SYNTHETIC not in texts(draw(table, **more))
    assert any([figure.get_supxlabel(), *(axes.get_xlabel() for axes in figure.axes)]) or name == "overlap"
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize("name", ALL)
def test_an_empty_table_or_a_missing_column_is_a_mistake(name):
    draw, table, more = ALL[name]
    with pytest.raises(Mistake, match="figure: "):
        draw(table.head(0), **more)
    if name != "overlap":
        with pytest.raises(Mistake, match="is missing; found"):
            draw(table.drop(columns=table.columns[0]), **more)


def test_loss_curves_hold_every_arm_in_every_panel():
    figure = figures.loss_curves(CURVES)
    assert [axes.get_title() for axes in figure.axes] == [
        "General, Dutch",
        "General, Romanian",
        "Clinical, Dutch",
        "Clinical, Romanian",
    ]
    for axes in figure.axes:
        assert [line.get_xydata().tolist() for line in axes.lines] == [[[0, 5], [1, 4]]] * len(ARMS)


def test_an_arm_may_lack_in_one_panel_of_the_scores(tmp_path):
    rows = METRICS[(METRICS["task"] != "screening_nl") | (METRICS["arm"] != "clinical")]
    figure = figures.task_scores(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "layout not applied" is one
        style.save(figure, tmp_path, "scores", ["png"], 60)
    assert [len(axes.lines) for axes in figure.axes] == [2 * len(ARMS) + 1, 2 * len(ARMS) - 2]


def test_budget_curves_hold_every_point_in_order():
    panel = figures.budget_curves(BUDGETS.iloc[::-1]).axes[0]
    assert [line.get_xydata().tolist() for line in panel.lines] == [[[20, 0.1], [60, 0.3], [100, 0.5]]] * len(ARMS)
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["20", "60", "100"]


def test_task_scores_show_seeds_means_and_the_baseline_of_the_task():
    ner, screening = figures.task_scores(METRICS).axes
    assert ner.lines[0].get_xdata().tolist() == pytest.approx([0.6, 0.7])
    assert list(ner.lines[1].get_xdata()) == pytest.approx([0.65, 0.65])
    assert list(ner.lines[-1].get_xdata()) == [0.2, 0.2]
    assert (ner.get_xlabel(), screening.get_xlabel()) == ("Strict F1 (0 to 1)", "AUPRC (0 to 1)")
    assert len(screening.lines) == 2 * len(ARMS)


def test_transfer_matrix_leaves_baselines_out_and_takes_the_best_arm():
    higher = METRICS.assign(value=METRICS["value"] + 0.05 * (METRICS["arm"] == "my_arm"))
    assert texts(figures.transfer_matrix(higher)).count("0.70\nmy arm") == 2
    with pytest.raises(Mistake, match="the table is empty"):
        figures.transfer_matrix(higher[higher["task"] == higher["test"]])


def test_calibration_curve_groups_by_probability():
    generator = np.random.default_rng(1)
    probability = generator.random(8000)
    label = (generator.random(8000) < probability).astype(float)
    rows = pd.DataFrame({"arm": "clinical", "seed": 1, "split": "test", "label": label, "probability": probability})
    line = ranking.calibration_curve(rows).axes[0].lines[0]
    np.testing.assert_allclose(line.get_xdata(), (np.arange(8) + 0.5) / 8, atol=0.02)
    np.testing.assert_allclose(line.get_ydata(), line.get_xdata(), atol=0.05)


def test_an_interval_of_calibration_is_that_of_the_patients_of_one_seed():
    rows = pd.DataFrame({"probability": np.arange(80) / 80, "label": [0.0, 0, 0, 1, 0] * 16, "split": "test"})
    rows = pd.concat([rows.assign(arm="clinical", seed=seed) for seed in (1, 2, 3)])
    bars = ranking.calibration_curve(rows).axes[0].collections[0].get_segments()
    for bar in bars:
        ends = binomtest(2, 10).proportion_ci(method="wilson")
        np.testing.assert_allclose(bar[:, 1], [ends.low, ends.high], atol=1e-6)
    assert len(bars) == 8


def test_precision_recall_of_a_perfect_model():
    figure = ranking.precision_recall(PATIENTS)
    axes = figure.axes[0]
    assert set(axes.lines[0].get_ydata()) == {1.0}
    assert "Clinical (1.00)" in texts(figure)
    assert "Prevalence (0.25)" in texts(figure)


def test_forest_draws_the_interval_and_says_what_is_not_testable():
    figure = figures.forest(COMPARISONS)
    segments = [s for c in figure.axes[0].collections for s in c.get_segments()]
    assert any(np.allclose(segment, [[0.05, 0], [0.15, 0]]) for segment in segments if len(segment))
    assert "C1  Clinical − General\nNER, Romanian, Strict F1" in texts(figure)
    assert "NER, Romanian → NER, Dutch" in texts(figure)
    assert "not testable here" in texts(figure)


def test_forest_draws_other_trainings_beside_their_comparison():
    figure = figures.forest(COMPARISONS, [[0.05, 0.2], *[[]] * (len(COMPARISONS) - 1)])
    (points,) = (line for line in figure.axes[0].lines if line.get_label() == "other trainings")
    assert points.get_xdata().tolist() == [0.05, 0.2]
    assert all(0 < y < 0.5 for y in points.get_ydata()), "below the first row's interval, above the second row"
    assert "other trainings" in texts(figure)
    assert "other trainings" not in texts(figures.forest(COMPARISONS, [[]] * len(COMPARISONS)))


def test_names_and_colours():
    assert names.shown("clinical_nl") == "Clinical, Dutch only"
    assert names.shown("my_arm") == "my arm"
    assert names.shown_corpus("clinical-nl") == "Clinical, Dutch"
    assert style.colours(["my_arm"])["ro_only"] == style.colours(["another", "my_arm"])["ro_only"]
    arms = list(names.NAMES)[: list(names.NAMES).index("dictionary")]
    assert len({style.colours([])[arm] for arm in arms}) == len(arms)


def test_an_unknown_format_is_a_mistake(tmp_path):
    with pytest.raises(Mistake, match=r"figures.formats: 'bmp' is unknown; allowed: png, svg, pdf"):
        style.save(figures.overlap_map(OVERLAP, words=5), tmp_path, "x", ["bmp"], 60)


def test_keep_saves_and_shows(tmp_path, monkeypatch):
    seen, picture = [], figures.overlap_map(OVERLAP, words=5)
    monkeypatch.setattr(style, "display", seen.append)
    style.keep(picture, folder=tmp_path, name="x", caption="What it shows.", formats=["svg"], dpi=60)
    style.keep(None, folder=tmp_path, name="y", caption="", formats=["svg"], dpi=60)
    assert (seen, sorted(path.name for path in tmp_path.iterdir())) == ([picture], ["x.svg", "x.txt"])


def test_a_notebook_gets_one_picture():
    unknown = figures.overlap_map(OVERLAP.mask(OVERLAP < OVERLAP.max(axis=None)), words=5)
    assert [text.get_text() for text in unknown.axes[0].texts] == ["100", "100"], "what is not known has no number"
    assert figures.overlap_map(OVERLAP, words=5)._repr_png_().startswith(b"\x89PNG")


def test_an_arm_may_lack_in_one_panel():
    part = RECALLS.astype({"group": "string[pyarrow]"})
    arm, task = part["arm"].iloc[-1], part["task"].iloc[0]
    some = part[(part["arm"] != arm) | (part["task"] != task)]
    other = part.assign(task="another")
    assert names.shown(arm) in texts(figures.recall_groups(pd.concat([some, other])))


def test_colours_and_style_are_those_of_seaborn():
    np.testing.assert_allclose(style.COLOURS[:10], sns.color_palette("colorblind", 10))
    ours = {"font.family", "font.sans-serif", "axes.edgecolor", "grid.color", "image.cmap"}
    theirs = {key: value for key, value in sns.axes_style("whitegrid").items() if key not in ours}
    assert {key: style.STYLE.get(key, mpl.rcParams[key]) for key in theirs} == theirs
