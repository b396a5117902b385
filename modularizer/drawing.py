"""What pictures are made of: figures without a window, heat maps, names of any kind."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#868e96"
_SHARES = ("#f8f9fa", "#99cdd6", "#0b7285", "#042f38")  # light to dark: reads in grey as well
_DOTS_PER_INCH = 110
_MOST_NUMBERED = (150, 12)  # cells, and columns, up to which numbers stand in them
_MOST_LABELS = 100
_MOST_LETTERS = 24


def heat_map(
    values: NDArray[np.float64],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    row_axis: str,
    column_axis: str,
    limits: tuple[float, float],
    written: NDArray[np.str_] | None = None,
) -> Figure:
    """Fractions as colours; with numbers where there are few enough.

    Args:
        values: float (rows, columns); NaN has no colour.
        rows: a name each.
        columns: a name each.
        title: above it.
        row_axis: what the rows are.
        column_axis: what the columns are.
        limits: what the lightest and the darkest colour stand for.
        written: texts (rows, columns) in place of the numbers; None for the values, but for NaN.
    """
    from matplotlib.colors import LinearSegmentedColormap

    numbered = values.size <= _MOST_NUMBERED[0] and len(columns) <= _MOST_NUMBERED[1]
    letters = max(len(shortened(name)) for name in columns)
    turned = letters > 4 or not numbered
    cell_width, cell_height = (0.55, 0.3) if numbered else (0.115, 0.115)
    figure = new_figure(
        min(max(cell_width * len(columns), 3.2), 11.5) + 2.4,
        min(max(cell_height * len(rows), 1.2), 11.5) + 1.1 + (0.08 * letters if turned else 0),
    )
    axes = figure.subplots()
    image = axes.imshow(
        values,
        cmap=LinearSegmentedColormap.from_list("shares", _SHARES),
        vmin=limits[0],
        vmax=limits[1],
        aspect="auto",
        interpolation="nearest",
    )
    axes.set_facecolor("#ced4da")
    size = 8 if numbered else 6
    name_ticks(axes.xaxis, columns, size, turned=turned)
    name_ticks(axes.yaxis, rows, size)
    if numbered:
        _write(axes, values, _numbers(values) if written is None else written, limits)
    figure.suptitle(title, fontsize=10)
    axes.set_xlabel(column_axis, fontsize=9)
    axes.set_ylabel(row_axis, fontsize=9)
    axes.tick_params(length=2)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, aspect=40)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    return figure


def _numbers(values: NDArray[np.float64]) -> NDArray[np.str_]:
    texts = ["" if np.isnan(value) else f"{value:.2f}" for value in values.flat]
    return np.array(texts).reshape(values.shape)


def _write(
    axes: Axes,
    values: NDArray[np.float64],
    texts: NDArray[np.str_],
    limits: tuple[float, float],
) -> None:
    middle = limits[0] + 0.57 * (limits[1] - limits[0])  # from there on white reads better
    for (row, column), text in np.ndenumerate(texts):
        if text:
            colour = "white" if values[row, column] > middle else "#212529"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)


def name_ticks(axis: Any, names: Sequence[str], size: int, *, turned: bool = False) -> None:
    """Name the places of an axis, 0 on, as far as there is room for names.

    Args:
        axis: of matplotlib.
        names: in order.
        size: of the letters, in points.
        turned: whether they are read from below.
    """
    step = -(-len(names) // _MOST_LABELS)  # of very many, every second or third is named
    shown = [shortened(name) for name in names[::step]]
    axis.set_ticks(range(0, len(names), step), shown, fontsize=size, rotation=90 if turned else 0)
    for label in axis.get_ticklabels():
        label.set_parse_math(False)  # a dollar in a name is a dollar


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size in inches that no window and no global state knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as a PNG file; gives its path back."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # names in scripts the font lacks
        figure.savefig(path, dpi=_DOTS_PER_INCH, pil_kwargs={"optimize": True})
    return path


def shortened(name: str) -> str:
    """A name in one line of at most 24 letters; a longer one loses letters near its end."""
    plain = " ".join("".join(one if one.isprintable() else " " for one in name).split())
    if len(plain) <= _MOST_LETTERS:
        return plain
    return plain[: _MOST_LETTERS - 8] + "…" + plain[-7:]  # names often differ at their end
