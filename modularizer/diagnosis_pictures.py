"""A diagnosis as pictures: how good each class is, and which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modularizer.diagnosis import ClassDiagnosis, Diagnosis
from modularizer.drawing import heat_map, name_ticks, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BY_CLASS, CONFUSIONS = "by-class.png", "confusions.png"
MARK = "*"
"""What stands behind the name of a class that is worth a patch."""

_PANELS = (("f1", "F1"), ("precision", "precision"), ("recall", "recall"))
_PLAIN, _MARKED, _DARK = "#51a3b5", "#e8590c", "#343a40"
_MOST_CLASSES = 100  # more are not drawn by class: the weakest are
_FEW = 30  # classes up to which letters are of full size


def save_diagnosis_pictures(diagnosis: Diagnosis, folder: Path) -> list[Path]:
    """Draw the two pictures of a diagnosis as PNG files; gives their paths.

    Args:
        diagnosis: the numbers.
        folder: exists; files of the same names in it are replaced.
    """
    return [
        save_figure(draw_by_class(diagnosis), folder / BY_CLASS),
        save_figure(draw_confusions(diagnosis), folder / CONFUSIONS),
    ]


def draw_by_class(diagnosis: Diagnosis) -> Figure:
    """F1, precision and recall of each class with their intervals, the weakest class first."""
    classes = diagnosis.weakest_first()[:_MOST_CLASSES]
    few = len(classes) <= _FEW
    figure = new_figure(9.5, (0.3 if few else 0.115) * max(len(classes), 3) + 1.5)
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    figure.suptitle(_title(diagnosis, len(classes)), fontsize=11)
    for axes, (metric, name) in zip(panels, _PANELS, strict=True):
        _bars(axes, classes, metric)
        axes.set_title(name, fontsize=10)
        axes.set_xlim(0, 1.02)
        axes.grid(axis="x", color="#e9ecef")
        axes.set_axisbelow(True)
        axes.tick_params(length=2, labelsize=8)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    panels[0].axvline(diagnosis.macro_f1, color=_DARK, linestyle="--", linewidth=1.2)
    name_ticks(panels[0].yaxis, [_named(one) for one in classes], 9 if few else 6)
    for label, one in zip(panels[0].get_yticklabels(), classes, strict=True):
        if one.worth_patching:
            label.set(color=_MARKED, fontweight="bold")
    panels[0].set_ylim(len(classes) - 0.4, -0.6)
    below = f"bars and 95 % intervals; dashed: mean F1 {diagnosis.macro_f1:.3f}"
    if diagnosis.worth_patching:
        below += f"; {MARK} worth patching: F1 below the others' mean by more than "
        below += f"{diagnosis.margin:g}, with 95 % confidence"
    figure.supxlabel(below, fontsize=8.5)
    return figure


def draw_confusions(diagnosis: Diagnosis) -> Figure:
    """Which classes are answered with which: counts, and as colour the share of the class."""
    matrix = diagnosis.confusion_matrix()
    support = np.array([[one.support] for one in diagnosis.classes])
    shares = matrix / np.maximum(support, 1)
    np.fill_diagonal(shares, np.nan)  # what is right would outshine what is not
    shares[support[:, 0] == 0] = np.nan
    highest = 0.0 if np.isnan(shares).all() else float(np.nanmax(shares))
    written = np.array([f"{count:,}" if count else "" for count in matrix.flat])
    names = [_named(one) for one in diagnosis.classes]
    return heat_map(
        shares,
        rows=names,
        columns=names,
        title="What each class is answered with; colour: share of its images",
        row_axis="class",
        column_axis="answer (grey: right)",
        limits=(0, max(np.ceil(highest * 20) / 20, 0.05)),
        written=written.reshape(matrix.shape),
    )


def _bars(axes: Axes, classes: Sequence[ClassDiagnosis], metric: str) -> None:
    """A bar and an interval for each class that has images."""
    judged = [(place, one) for place, one in enumerate(classes) if one.support]
    places = [place for place, _ in judged]
    colours = [_MARKED if one.worth_patching else _PLAIN for _, one in judged]
    axes.barh(places, [getattr(one, metric) for _, one in judged], height=0.72, color=colours)
    spreads = [getattr(one, f"{metric}_interval") for _, one in judged]
    lows, highs = [one.low for one in spreads], [one.high for one in spreads]
    axes.hlines(places, lows, highs, color=_DARK, linewidth=1.3)


def _named(one: ClassDiagnosis) -> str:
    if not one.support:
        return f"{one.class_name} (no image)"
    return f"{one.class_name} {MARK}" if one.worth_patching else one.class_name


def _title(diagnosis: Diagnosis, shown: int) -> str:
    count = len(diagnosis.classes)
    which = f"The weakest {shown} of {count:,} classes" if shown < count else "Class by class"
    return f"{which}, on {diagnosis.images:,} images"
