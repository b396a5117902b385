"""What was measured, as a picture: a panel for what belongs together, log-log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Row = Mapping[str, Any]

_COLOURS = ("#343a40", "#0b7285", "#e8590c", "#7048e8")
_MARKERS = "os^D"
_SCALES = {"bytes": 1 / 2**20, "seconds": 1.0, "ms": 1.0}
_LABELS = {"bytes": "MiB", "seconds": "seconds", "ms": "ms"}
_COLUMNS = 4
_ROOM = 0.42
"""Of a panel's height, above the points, for a legend of four lines."""


@dataclass(frozen=True)
class Panel:
    """Quantities of one series that have a unit in common.

    Attributes:
        series: whose.
        title: what they are about.
        across: what the sizes count.
        names: of the quantities, and what the legend calls them.
    """

    series: str
    title: str
    across: str
    names: Mapping[str, str]


PANELS = (
    Panel(
        "modules",
        "a patched model's bytes",
        "class modules",
        {
            "weight_bytes": "weights",
            "disk_bytes": "bundles on disk",
            "process_bytes": "the process grows by",
        },
    ),
    Panel(
        "modules",
        "loading it",
        "class modules",
        {
            "first_load_seconds": "from the store",
            "load_seconds": "bundles at hand",
            "read_seconds": "of it, reading and checking",
        },
    ),
    Panel(
        "modules",
        "asking it",
        "class modules",
        {
            "one_image_ms": "one image",
            "explained_image_ms": "one image, explained",
            "batch_ms": "a batch",
        },
    ),
    Panel(
        "listed",
        "a registry's time",
        "class modules in it",
        {
            "register_one_seconds": "register one more",
            "list_seconds": "list all",
            "modules_of_one_seconds": "those of one strong model",
            "find_seconds": "find one",
        },
    ),
    Panel(
        "listed",
        "Python's objects at the worst moment",
        "class modules in it",
        {"list_peak_bytes": "list all"},
    ),
    Panel(
        "classes",
        "a decomposition's time",
        "classes",
        {
            "compose_seconds": "compose, scores known",
            "diff_seconds": "Diff",
            "plan_seconds": "plan of the strong network",
            "decode_seconds": "decode a module",
        },
    ),
    Panel(
        "classes",
        "joining a batch's scores",
        "classes",
        {"combine_ms": "one patch", "combine_all_ms": "a patch for each class"},
    ),
    Panel(
        "classes",
        "tensors at the worst moment",
        "classes",
        {"compose_peak_bytes": "compose", "diff_peak_bytes": "Diff"},
    ),
)


def save_pictures(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw points with their spread, the fitted power, and its exponent in the legend.

    Args:
        found: what `benchmarks.growth.run.measure_growth` gives.
        folder: where the PNG goes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [one for one in PANELS if any(one.series == row["series"] for row in found["rows"])]
    columns = min(_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(4.0 * columns, 3.8 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, columns, squeeze=False).flatten()
    for axis, panel in zip(axes, panels, strict=False):
        _draw(axis, panel, found)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    path = folder / "growth.png"
    figure.savefig(path, dpi=110)
    return [path]


def _draw(axis: Any, panel: Panel, found: Mapping[str, Any]) -> None:
    fits = {(one["series"], one["name"]): one for one in found["fits"]}
    unit = next(iter(panel.names)).rpartition("_")[2]
    for (name, label), colour, marker in zip(panel.names.items(), _COLOURS, _MARKERS, strict=False):
        rows = [
            one for one in found["rows"] if (one["series"], one["name"]) == (panel.series, name)
        ]
        _draw_curve(axis, rows, fits[panel.series, name], (colour, marker, label), _SCALES[unit])
    axis.set(xscale="log", yscale="log", xlabel=panel.across, ylabel=_LABELS[unit])
    axis.set_title(panel.title, fontsize=10)
    sizes = sorted({one["size"] for one in found["rows"] if one["series"] == panel.series})
    axis.set_xticks(sizes, [str(one) for one in sizes])
    axis.minorticks_off()
    low, high = axis.get_ylim()
    axis.set_ylim(low, high * (high / low) ** (_ROOM * len(panel.names) / len(_COLOURS)))
    axis.legend(fontsize=8, frameon=False, loc="upper left")


def _draw_curve(
    axis: Any, rows: Sequence[Row], fit: Row, look: tuple[str, str, str], scale: float
) -> None:
    colour, marker, label = look
    sizes = [one["size"] for one in rows]
    medians, low, high = (
        np.array([scale * one[name] for one in rows]) for name in ("median", "lowest", "highest")
    )
    spread = [medians - low, high - medians]
    text = f"{label}: $x^{{{fit['exponent']:.2f}}}$"
    # Open, as two curves may lie on each other.
    look_of = {"fmt": marker, "color": colour, "markersize": 6, "fillstyle": "none"}
    axis.errorbar(sizes, medians, spread, label=text, **look_of)
    fitted = [scale * fit["factor"] * size ** fit["exponent"] for size in sizes]
    axis.plot(sizes, fitted, color=colour, linewidth=1)
