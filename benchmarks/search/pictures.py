"""Results as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_BASE, _OTHERS = "#343a40", ("#0b7285", "#e8590c", "#7048e8")
_GREY = "#9aa5b1"

Row = Mapping[str, Any]


def save_ablation(found: Mapping[str, Any], path: Path) -> None:
    """Fitness by generation where one thing was changed, and the sweeps of alpha and N_I.

    Args:
        found: what `benchmarks.search.ablation.Ablation.run` gives.
        path: where to write the PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows: Sequence[Row] = found["rows"]
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 3)
    base = [row for row in rows if row["group"] == "base"]
    courses = (
        ("grouping", found["base"]["grouping"]),
        ("first population", found["base"]["first_population"]),
        ("published code", "without"),
    )
    for column, (group, named) in enumerate(courses):
        varied = [row for row in rows if row["group"] == group]
        _course(figure.add_subplot(grid[0, column]), group, [(named, one) for one in base], varied)
    small = [row for row in rows if row["group"] == "bracket"]
    _course(figure.add_subplot(grid[1, 0]), f"bracket, {_small(found)}", [], small)
    _alpha(figure.add_subplot(grid[1, 1]), _sweep(rows, "alpha", float(found["base"]["alpha"])))
    _size(figure.add_subplot(grid[1, 2]), _sweep(rows, "N_I", float(found["base"]["candidates"])))
    subject, seeds = found["subject"], found["seeds"]
    figure.suptitle(
        f"{subject['model']}: {found['base']['candidates']} candidates, "
        f"{subject['validation_images']} validation images, "
        f"{len(seeds)} seed{'s' * (len(seeds) > 1)}; base in black",
        fontsize=11,
    )
    figure.savefig(path, dpi=110)


def _small(found: Mapping[str, Any]) -> str:
    subject = found["small_subject"]
    return f"{subject['classes']} classes, {subject['validation_images']} images"


def _course(axes: Any, title: str, base: list[tuple[str, Row]], varied: Sequence[Row]) -> None:
    """Fitness of the best combination so far by generation; a line a run."""
    others = [(str(row["name"]), row) for row in varied]
    colours = (*[_BASE] * len(base), *_OTHERS)
    lines = zip([*base, *others], colours, ("-", "-", "--", ":"), strict=False)
    for (name, row), colour, style in lines:
        for number, run in enumerate(row["runs"]):
            course = [step["fitness"] for step in run["history"]]
            axes.plot(
                range(1, len(course) + 1),
                course,
                color=colour,
                linestyle=style,
                linewidth=1.4,
                label=name if number == 0 else None,
            )
    axes.set_xlabel("generation", fontsize=9)
    _finish(axes, f"fitness: {title}")
    if base or others:
        axes.legend(frameon=False, fontsize=8, loc="best")


def _sweep(rows: Sequence[Row], group: str, base: float) -> list[tuple[float, Row]]:
    """The rows of a sweep by what is swept, the base among them."""
    points = [(float(row["name"]), row) for row in rows if row["group"] == group]
    points += [(base, row) for row in rows if row["group"] == "base"]
    return sorted(points, key=lambda point: point[0])


def _alpha(axes: Any, points: list[tuple[float, Row]]) -> None:
    places = [place for place, _ in points]
    for metric, name, colour in (
        ("accuracy", "accuracy", _OTHERS[0]),
        ("diff", "Diff", _OTHERS[1]),
        ("kernels_kept", "kernels kept", _GREY),
    ):
        values = [row[metric] for _, row in points]
        axes.plot(places, values, color=colour, marker="o", markersize=4, label=name)
    axes.set_ylim(0, 1)
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.set_xlabel("alpha: weight of accuracy", fontsize=9)
    _finish(axes, "at the end, by alpha")
    axes.legend(frameon=False, fontsize=8)


def _size(axes: Any, points: list[tuple[float, Row]]) -> None:
    for (place, row), colour in zip(points, (_OTHERS[0], _BASE, _OTHERS[1]), strict=False):
        for number, run in enumerate(row["runs"]):
            passes = _running_sum([step["passes"] for step in run["history"]])
            axes.plot(
                [count / 1e6 for count in passes],
                [step["fitness"] for step in run["history"]],
                color=colour,
                linewidth=1.4,
                label=f"{place:g}" if number == 0 else None,
            )
    axes.set_xlabel("million network passes", fontsize=9)
    _finish(axes, "fitness: candidates a class (N_I)")
    if points:
        axes.legend(frameon=False, fontsize=8, loc="best")


def _running_sum(values: Sequence[float]) -> list[float]:
    total, sums = 0.0, []
    for value in values:
        total += value
        sums.append(total)
    return sums


def _finish(axes: Any, title: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
