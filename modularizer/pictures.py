"""A search as pictures: its convergence, what each module keeps, and how alike the modules are."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modularizer.search_report import SearchReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CONVERGENCE, KERNELS_KEPT, OVERLAP = "convergence.png", "kernels-kept.png", "overlap.png"

_CURVES = (  # metric, name, colour, width: told apart in grey, too
    ("fitness", "fitness", "#343a40", 2.6),
    ("accuracy", "Acc", "#0b7285", 1.6),
    ("training_accuracy", "Acc on training images, as they were learnt from", "#51a3b5", 1.6),
    ("diff", "Diff", "#e8590c", 1.6),
)
_GREY = "#868e96"
_SHARES = ("#f8f9fa", "#99cdd6", "#0b7285", "#042f38")  # light to dark: reads in grey as well
_DOTS_PER_INCH = 110
_MOST_NUMBERED = (150, 12)  # cells, and columns, up to which numbers stand in them
_MOST_LABELS = 100
_MOST_LETTERS = 24


def save_pictures(report: SearchReport, folder: Path) -> list[Path]:
    """Draw the three pictures of a search as PNG files; gives their paths.

    Args:
        report: the numbers.
        folder: exists; files of the same names in it are replaced.
    """
    drawings = (
        (CONVERGENCE, draw_convergence),
        (KERNELS_KEPT, draw_kernels_kept),
        (OVERLAP, draw_overlap),
    )
    paths = []
    for name, draw in drawings:
        paths.append(folder / name)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # names in scripts the font lacks
            draw(report).savefig(paths[-1], dpi=_DOTS_PER_INCH, pil_kwargs={"optimize": True})
    return paths


def draw_convergence(report: SearchReport) -> Figure:
    """Fitness, Acc and Diff of the best composed model, and the kernels kept, by generation."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(8, 6.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    figure.suptitle(
        f"Convergence in {_counted(len(report.history), report.step_name)}: the best composed "
        "model, on validation images",
        fontsize=11,
    )
    for metric, name, colour, width in _CURVES:
        _curve(upper, report, metric, label=name, color=colour, linewidth=width)
    references = [(report.strong_accuracy, "strong model's Acc", "--")]
    if report.random_accuracy:
        mean = float(np.mean(report.random_accuracy))
        references.append((mean, "Acc of random masks of the same size", ":"))
    for value, name, style in references:
        upper.axhline(value, color=_GREY, linestyle=style, linewidth=1.3, label=name)
    upper.set_ylabel("fraction")
    upper.grid(axis="y", color="#e9ecef")
    _curve(lower, report, "kernels_kept", color=_CURVES[1][2], linewidth=1.6)
    lower.axhline(report.kernels, color=_GREY, linestyle="--", linewidth=1.3)
    lower.annotate(
        f"strong model: {report.kernels:,}",
        (0.995, report.kernels),
        xycoords=("axes fraction", "data"),
        xytext=(0, -3),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=8,
        color="#495057",
    )
    lower.set_ylim(0, report.kernels * 1.06)
    lower.set_ylabel("kernels kept\n(mean of the modules)")
    lower.set_xlabel(report.step_name)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    lower.set_xlim(0.5, max(len(report.history), 1) + 0.5)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = upper.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _curve(axes: Axes, report: SearchReport, metric: str, **style: Any) -> None:
    """A metric over the generations that have it, with dots where there are few."""
    points = [(i, row[metric]) for i, row in enumerate(report.history, start=1) if metric in row]
    if points:
        marker = "o" if len(points) <= 30 else ""
        axes.plot(*zip(*points, strict=True), marker=marker, markersize=4, **style)


def draw_kernels_kept(report: SearchReport) -> Figure:
    """The share of kernels that each module keeps, a row a segment of layers, a column a class."""
    coupled = any("+" in name for name in report.layers)
    return _heat_map(
        report.kept_share().T,
        rows=report.layer_labels,
        columns=report.class_names,
        title="Share of each layer's kernels that a module keeps",
        row_axis="layer (+n: with n coupled)" if coupled else "layer",
        limits=(0, 1),
    )


def draw_overlap(report: SearchReport) -> Figure:
    """The Jaccard similarity of every two modules; the scale spans what occurs."""
    values = report.overlap()
    np.fill_diagonal(values, np.nan)  # every module is like itself
    others = values[~np.isnan(values)]
    low, high = (
        (np.floor(others.min() * 10), np.ceil(others.max() * 10)) if len(others) else (0, 10)
    )
    return _heat_map(
        values,
        rows=report.class_names,
        columns=report.class_names,
        title="Overlap of two modules: kernels shared / kernels of either",
        row_axis="class of the module",
        limits=(low / 10, max(high, low + 1) / 10),
    )


def _heat_map(
    values: NDArray[np.float64],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    row_axis: str,
    limits: tuple[float, float],
) -> Figure:
    """Fractions as colours, (rows, columns); with numbers where they fit, NaN is left out."""
    from matplotlib.colors import LinearSegmentedColormap

    numbered = values.size <= _MOST_NUMBERED[0] and len(columns) <= _MOST_NUMBERED[1]
    letters = max(len(_short(name)) for name in columns)
    turned = letters > 4 or not numbered
    cell_width, cell_height = (0.55, 0.3) if numbered else (0.115, 0.115)
    figure = _figure(
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
    _tick_labels(axes.xaxis, columns, size, turned=turned)
    _tick_labels(axes.yaxis, rows, size)
    if numbered:
        _number(axes, values, limits)
    figure.suptitle(title, fontsize=10)
    axes.set_xlabel("class of the module", fontsize=9)
    axes.set_ylabel(row_axis, fontsize=9)
    axes.tick_params(length=2)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, aspect=40)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    return figure


def _number(axes: Axes, values: NDArray[np.float64], limits: tuple[float, float]) -> None:
    middle = limits[0] + 0.57 * (limits[1] - limits[0])  # from there on white reads better
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            colour = "white" if value > middle else "#212529"
            text = f"{value:.2f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)


def _tick_labels(axis: Any, names: Sequence[str], size: int, *, turned: bool = False) -> None:
    step = -(-len(names) // _MOST_LABELS)  # of very many, every second or third is named
    shown = [_short(name) for name in names[::step]]
    axis.set_ticks(range(0, len(names), step), shown, fontsize=size, rotation=90 if turned else 0)
    for label in axis.get_ticklabels():
        label.set_parse_math(False)  # a dollar in a name is a dollar


def _figure(width: float, height: float) -> Figure:
    """A figure of this size in inches that no window and no global state knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _short(name: str) -> str:
    plain = " ".join("".join(one if one.isprintable() else " " for one in name).split())
    if len(plain) <= _MOST_LETTERS:
        return plain
    return plain[: _MOST_LETTERS - 8] + "…" + plain[-7:]  # names often differ at their end


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
