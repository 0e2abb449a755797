"""The one style of all figures: colours, panels, legends, and how a figure is shown and kept."""

from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.style import library

from common.names import ARMS, SYNTHETIC
from common.project import Mistake, write_atomically

# fmt: off
# Seaborn's colour-blind palette and style without it: it takes a second to import, and only maps need it itself.
COLOURS = [
    *map(to_rgb, "#0173b2 #de8f05 #029e73 #d55e00 #cc78bc #ca9161 #fbafe4 #949494 #ece133 #56b4e9".split()),
    (0.2, 0.13, 0.53), *map(to_rgb, "#882255 #117733 #44aa99 #999933 #661100".split()),
]
VERDICTS = {"supported": COLOURS[2], "contradicted": COLOURS[3], "inconclusive": "0.45", "not testable here": "0.75"}
MARKERS = "osD^vPX*"
STYLE = {
    **library["seaborn-v0_8-whitegrid"], "axes.linewidth": 0.8, "patch.edgecolor": "w",
    "patch.force_edgecolor": True, "xtick.bottom": False, "ytick.left": False, "xtick.major.size": 3.5,
    "ytick.major.size": 3.5,
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9, "axes.titlesize": 9,
    "axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8, "legend.frameon": False,
    "axes.edgecolor": "0.3", "grid.color": "0.9", "lines.linewidth": 1.4, "lines.markersize": 4,
    "svg.hashsalt": "helpers", "svg.fonttype": "path",
}
# fmt: on


class Picture(Figure):
    """A figure that a notebook shows as a picture, once: pyplot does not know of it."""

    def _repr_png_(self) -> bytes:
        return _bytes(self, "png", 110)


def colours(arms: Iterable[str]) -> dict[str, tuple[float, float, float]]:
    """Arm -> colour: the same for a known arm in every figure, further arms in turn."""
    order = [*ARMS, *sorted(set(arms) - set(ARMS))]
    return {arm: COLOURS[i % len(COLOURS)] for i, arm in enumerate(order)}


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str], dpi: int) -> list[Path]:
    """Write `figure` as `folder`/`name`.<format>, bytes that depend on its content only; returns the paths."""
    paths = [folder / f"{name}.{kind}" for kind in formats]
    for path, kind in zip(paths, formats, strict=True):
        write_atomically(path, _bytes(figure, kind, dpi))
    return paths


def keep(figure: Figure | None, *, folder: Path, name: str, caption: str, formats: Sequence[str], dpi: int) -> None:
    """Show a figure in the notebook and `save` it, its caption beside it; without a figure nothing happens."""
    if figure is not None:
        save(figure, folder, name, formats, dpi)
        write_atomically(folder / f"{name}.txt", caption + "\n")
        display(figure)


def _bytes(figure: Figure, kind: str, dpi: int) -> bytes:
    """The figure in a format, without date or version."""
    nothing = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    if kind not in nothing:
        raise Mistake(f"figures.formats: {kind!r} is unknown; allowed: {', '.join(nothing)}")
    content = BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(content, format=kind, dpi=dpi, metadata=nothing[kind])
    return content.getvalue()


def panels(rows: int, columns: int, width_mm: float, height_mm: float, synthetic: bool, **shared: object) -> tuple:
    """A figure and its axes (rows, columns); the note on synthetic text stands in a strip of its own below."""
    strip = 5 if synthetic else 0
    figure = Picture(figsize=(width_mm / 25.4, (height_mm + strip) / 25.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **shared)
    if synthetic:
        share = strip / (height_mm + strip)
        figure.get_layout_engine().set(rect=(0, share, 1, 1 - share))
        figure.text(0.01, share / 3, SYNTHETIC, fontsize=7, color="0.35", style="italic")
    return figure, axes


def needed(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The table itself; Mistake when it is empty or lacks one of `columns`."""
    if lacking := [column for column in columns if column not in table]:
        raise Mistake(f"figure: column {lacking[0]!r} is missing; found {list(table)}")
    if table.empty:
        raise Mistake("figure: the table is empty; run the stages before it")
    return table


def legend(figure: Figure, axes: Axes, columns: int) -> None:
    """One legend above all panels, from the entries of one of them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)
