"""A report as pictures: F1 of each target class, and how true the patched scores are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.paper.evaluation import first_of_target
from benchmarks.paper.report import NAMED, Report
from benchmarks.paper.rows import ROWS
from benchmarks.paper.scores import SuiteScores
from benchmarks.paper.selection import fits_of
from benchmarks.paper.track import KINDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLASSES_PICTURE, CURVES_PICTURE = "f1-by-class.png", "calibration-curves.png"

_WEAK = "#adb5bd"
_COLOURS = {"paper": "#e8590c", "best_replacement": "#51a3b5", "best": "#0b4f5c"}
_DOTS_PER_INCH = 110
_BINS = 10


def save_plots(
    report: Report,
    held_out: Sequence[SuiteScores],
    selection: Mapping[str, Any],
    folder: Path,
) -> None:
    """Draw both pictures as PNG files.

    Args:
        report: what was judged.
        held_out: the scores that it was judged by.
        selection: the rules.
        folder: where they go; it is there.
    """
    for name, figure in (
        (CLASSES_PICTURE, draw_classes(report)),
        (CURVES_PICTURE, draw_curves(report, held_out, selection)),
    ):
        figure.savefig(folder / name, dpi=_DOTS_PER_INCH, pil_kwargs={"optimize": True})


def draw_classes(report: Report) -> Figure:
    """F1 of each target class, weak and patched, a panel a suite and kind of weak model."""
    shown = distinct(report.summary["chosen"])
    paper = report.judged["paper"]
    suites = list(dict.fromkeys(one.suite for one in paper))
    figure = _figure(13, 1.2 + 2.7 * len(suites))
    panels = figure.subplots(len(suites), len(KINDS), squeeze=False, sharey=True)
    for row, suite in enumerate(suites):
        for column, kind in enumerate(KINDS):
            places = [
                index for index, one in enumerate(paper) if (one.suite, one.kind) == (suite, kind)
            ]
            bars = [("weak", _WEAK, [paper[index].weak["f1"] for index in places])]
            for name, key in shown.items():
                values = [report.judged[key][index].patched["f1"] for index in places]
                bars.append((_label(name, key), _COLOURS[name], values))
            axes = panels[row, column]
            _bars(axes, [paper[index].target for index in places], bars)
            axes.set_title(f"{suite}, {kind}", fontsize=10)
        panels[row, 0].set_ylabel("F1 of the target class")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.suptitle("Weak models and what patches make of them, on held-out images", fontsize=12)
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def draw_curves(
    report: Report, held_out: Sequence[SuiteScores], selection: Mapping[str, Any]
) -> Figure:
    """How often images with a certain score are of the target class; the diagonal is honest."""
    shown = distinct(report.summary["chosen"])
    fits, rows = fits_of(selection), {row.key: row for row in ROWS}
    figure = _figure(12, 4.6)
    panels = figure.subplots(1, len(KINDS), sharey=True)
    for axes, kind in zip(panels, KINDS, strict=True):
        axes.plot([0, 1], [0, 1], color="#adb5bd", linestyle="--", linewidth=1.2)
        for name, key in shown.items():
            told, true = [], []
            for scores in held_out:
                for target in scores.targets:
                    given = first_of_target(
                        scores.given(target, kind, rows[key].patch),
                        report.summary["target_images"].get(scores.suite),
                    )
                    rule = fits[key][f"{scores.suite}/{target}/{kind}"]
                    (column,) = given.columns
                    told.append(rule.scores(given)[:, column].numpy().clip(0, 1))
                    true.append(given.labels == column)
            x, y = _curve(np.concatenate(told), np.concatenate(true))
            axes.plot(x, y, marker="o", markersize=4, color=_COLOURS[name], label=_label(name, key))
        axes.set_title(f"{kind} models", fontsize=10)
        axes.set_xlabel("score of the target class, cut to 0 to 1")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share of images that are of it")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.suptitle("Does a patched score mean what it says? Held-out images", fontsize=12)
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def distinct(chosen: Mapping[str, str]) -> dict[str, str]:
    """From names to rows' keys, each row once: the best may be the best replacement."""
    found: dict[str, str] = {}
    for name in NAMED:
        if chosen[name] not in found.values():
            found[name] = chosen[name]
    return found


def _label(name: str, key: str) -> str:
    title = {row.key: row.title for row in ROWS}[key]
    return title if name == "paper" else f"{NAMED[name]}: {title}"


def _bars(axes: Axes, classes: Sequence[str], bars: Sequence[tuple[str, str, list[float]]]) -> None:
    width = 0.82 / len(bars)
    places = np.arange(len(classes))
    for number, (label, colour, values) in enumerate(bars):
        offset = (number - (len(bars) - 1) / 2) * width
        axes.bar(places + offset, values, width, color=colour, label=label)
    axes.set_xticks(places, classes, rotation=45, ha="right", fontsize=8)
    axes.set_ylim(0, 1)
    axes.grid(axis="y", color="#e9ecef")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _curve(told: NDArray[np.float32], true: NDArray[np.bool_]) -> tuple[list[float], list[float]]:
    """Mean score and share of the class in each tenth of the scale that holds 20 images."""
    bins = np.minimum((told * _BINS).astype(int), _BINS - 1)
    filled = [one for one in range(_BINS) if (bins == one).sum() >= 20]
    return (
        [float(told[bins == one].mean()) for one in filled],
        [float(true[bins == one].mean()) for one in filled],
    )


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
