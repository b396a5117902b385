"""A search as pictures: its convergence, what each module keeps, and how alike the modules are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modularizer.drawing import GREY, heat_map, new_figure, save_figure
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
    return [save_figure(draw(report), folder / name) for name, draw in drawings]


def draw_convergence(report: SearchReport) -> Figure:
    """Fitness, Acc and Diff of the best composed model, and the kernels kept, by generation."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(8, 6.2)
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
        upper.axhline(value, color=GREY, linestyle=style, linewidth=1.3, label=name)
    upper.set_ylabel("fraction")
    upper.grid(axis="y", color="#e9ecef")
    _curve(lower, report, "kernels_kept", color=_CURVES[1][2], linewidth=1.6)
    lower.axhline(report.kernels, color=GREY, linestyle="--", linewidth=1.3)
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
    return heat_map(
        report.kept_share().T,
        rows=report.layer_labels,
        columns=report.class_names,
        title="Share of each layer's kernels that a module keeps",
        row_axis="layer (+n: with n coupled)" if coupled else "layer",
        column_axis="class of the module",
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
    return heat_map(
        values,
        rows=report.class_names,
        columns=report.class_names,
        title="Overlap of two modules: kernels shared / kernels of either",
        row_axis="class of the module",
        column_axis="class of the module",
        limits=(low / 10, max(high, low + 1) / 10),
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
