"""The demo's result as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patchbay.demo.story import Story

_WEAK, _PATCHED, _STRONG = "#9aa5b1", "#0b7285", "#343a40"


def save_picture(story: Story, path: Path) -> None:
    """Weak against patched on held-out images, and what the networks cost, as a PNG.

    Args:
        story: what the demo made.
        path: where to write it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 3, height_ratios=(1, 1))
    _bars(figure.add_subplot(grid[0, :2]), story, "f1", "F1 of the target class")
    _bars(figure.add_subplot(grid[1, 0]), story, "precision", "precision")
    _bars(figure.add_subplot(grid[1, 1]), story, "recall", "recall")
    _bars(figure.add_subplot(grid[1, 2]), story, "others_accuracy", "accuracy on the other classes")
    _costs(figure.add_subplot(grid[0, 2]), story)
    figure.suptitle(
        "Weak against patched on held-out digits "
        f"({story.targets[0].held_out.images} images a model; bars: 95 % bootstrap intervals)",
        fontsize=11,
    )
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=110)


def _bars(axes: Any, story: Story, metric: str, title: str) -> None:
    sides = (("weak", _WEAK, -0.2), ("patched", _PATCHED, 0.2))
    for side, colour, offset in sides:
        values = [getattr(getattr(one.held_out, side), metric) for one in story.targets]
        spreads = [getattr(one.held_out, f"{side}_spread")[metric] for one in story.targets]
        below = [max(v - s.low, 0) for v, s in zip(values, spreads, strict=True)]
        above = [max(s.high - v, 0) for v, s in zip(values, spreads, strict=True)]
        places = [index + offset for index in range(len(values))]
        axes.bar(places, values, width=0.36, color=colour, label=side)
        axes.errorbar(
            places, values, yerr=[below, above], fmt="none", ecolor="#495057", elinewidth=1
        )
    names = [
        f"{one.name}*" if one is story.served and metric == "f1" else one.name
        for one in story.targets
    ]
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(0, 1.05)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("target class (* served)" if metric == "f1" else "target class", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _costs(axes: Any, story: Story) -> None:
    rows = [
        ("strong", story.strong.record.cost.multiply_adds, _STRONG),
        ("weak", story.served.weak.record.cost.multiply_adds, _WEAK),
        *(
            (f"module {part.class_module.class_name}", part.cost.multiply_adds, _PATCHED)
            for part in story.decomposition.record.classes
        ),
    ]
    names, counts, colours = zip(*rows, strict=True)
    axes.barh(range(len(rows)), [count / 1e6 for count in counts], color=colours)
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_title("million multiply-adds an image", fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
