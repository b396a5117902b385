"""What was measured, as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_COLOURS = {
    "weak": "#343a40",
    "patched": "#0b7285",
    "patched_strong": "#e8590c",
    "patched_8": "#7048e8",
}
_STACK = ("#343a40", "#0b7285", "#9aa5b1")
_BELOW = (0.5, -0.16)
_MIB = 2**20

Row = Mapping[str, Any]


def save_pictures(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Latency against batch with the ratio under it, and the ratios alone; memory; time by network.

    Args:
        found: what `benchmarks.inference.run.measure_inference` gives.
        folder: where the PNGs go.
    """
    drawings = {"latency.png": _latency, "ratios.png": _ratios, "branches.png": _branches}
    if any(row.get("process_bytes") is not None for row in found["rows"]):
        drawings["memory.png"] = _memory
    paths = []
    for name, draw in drawings.items():
        draw(found, folder / name)
        paths.append(folder / name)
    return paths


_COLUMNS = 2


def _figure(
    found: Mapping[str, Any], rows: int, height: float
) -> tuple[Any, list[tuple[str, Any]]]:
    """A figure, and for each model so many axes, one under the other; two models a line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(found["settings"])
    columns = min(_COLUMNS, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(5.5 * columns, height * lines), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows * lines, columns, squeeze=False)
    places = [(number // columns * rows, number % columns) for number in range(lines * columns)]
    for line, column in places[len(names) :]:
        for axis in axes[line : line + rows, column]:
            axis.set_visible(False)
    return figure, [
        (name, axes[line : line + rows, column])
        for name, (line, column) in zip(names, places, strict=False)
    ]


def _own(found: Mapping[str, Any], model: str) -> tuple[list[Row], str]:
    """The rows by the executor that the service uses, and its name."""
    rows = [one for one in found["rows"] if one["model"] == model]
    best = next(one["executor"] for one in rows if one["name"] == "weak")
    return [one for one in rows if one["executor"] == best], best


def _latency(found: Mapping[str, Any], path: Path) -> None:
    figure, panels = _figure(found, 2, 6.4)
    for model, (above, below) in panels:
        rows, best = _own(found, model)
        for name, colour in _COLOURS.items():
            line = _named(rows, name)
            if not line:
                continue
            label = name.replace("patched_strong", "weak + whole strong").replace(
                "patched_8", "weak + 8 modules"
            )
            _draw(above, line, ("lowest_ms", "p50_ms", "p99_ms"), colour, label)
            if name != "weak":
                _draw(below, line, ("ratio_low", "ratio_to_weak", "ratio_high"), colour, label)
        above.set(xscale="log", yscale="log", ylabel="ms, median; lowest to p99")
        above.set_title(
            f"{model}, {found['environment']['device']}, {best.replace('_', ' ')}", fontsize=10
        )
        above.legend(fontsize=8, frameon=False, ncols=2, loc="upper left")
        low, high = above.get_ylim()
        above.set_ylim(low, high * (high / low) ** 0.25)  # room for the legend
        below.axhline(1, color=_COLOURS["weak"], linewidth=0.8)
        below.set(
            xscale="log", xlabel="images at once", ylabel="times the weak model's", ylim=(0, None)
        )
        _mark_batches(below, rows)
        above.set_xlim(below.get_xlim())
        above.set_xticks([])
        above.minorticks_off()
    figure.savefig(path, dpi=110)


def _mark_batches(axis: Any, rows: Sequence[Row]) -> None:
    ticks = sorted({one["batch"] for one in rows})
    axis.set_xticks(ticks, [str(one) for one in ticks])
    axis.minorticks_off()


def _ratios(found: Mapping[str, Any], path: Path) -> None:
    """What a patch costs, in one line of panels: times the weak model's time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(found["settings"])
    figure = Figure(figsize=(3.1 * max(2, len(names)), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for axis, model in zip(axes, names, strict=True):
        own, best = _own(found, model)
        side_by_side = [
            one
            for one in found["rows"]
            if (one["model"], one["name"], one["executor"]) == (model, "patched", "threads")
        ]
        for label, rows, colour in (
            ("weak + whole strong", _named(own, "patched_strong"), "#e8590c"),
            (f"patched, {best.replace('_', ' ')}", _named(own, "patched"), "#0b7285"),
            ("patched, two threads", side_by_side, "#7048e8"),
        ):
            if rows:
                _draw(axis, rows, ("ratio_low", "ratio_to_weak", "ratio_high"), colour, label)
        axis.axhline(1, color=_COLOURS["weak"], linewidth=0.8)
        axis.set(xscale="log", xlabel="images at once")
        axis.set_title(model, fontsize=10)
        _mark_batches(axis, own)
    axes[0].set_ylabel("times the weak model's time")
    axes[0].set_ylim(0, 1.05 * axes[0].get_ylim()[1])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)


def _named(rows: Sequence[Row], name: str) -> list[Row]:
    return [one for one in rows if one["name"] == name]


def _draw(axis: Any, rows: Sequence[Row], names: Sequence[str], colour: str, label: str) -> None:
    """A line by batch within its band; the names are of what is below, on and above it."""
    batches = [one["batch"] for one in rows]
    low, middle, high = ([one[name] for one in rows] for name in names)
    axis.plot(batches, middle, "o-", color=colour, label=label)
    axis.fill_between(batches, low, high, color=colour, alpha=0.15, linewidth=0)


def _memory(found: Mapping[str, Any], path: Path) -> None:
    figure, panels = _figure(found, 1, 4.6)
    for model, (axis,) in panels:
        rows, _ = _own(found, model)
        largest = max(one["batch"] for one in rows)
        bars = [one for one in rows if one["batch"] == largest and one.get("process_bytes")]
        labels = [one["name"].replace("_", " ") for one in bars]
        bottom = [0.0] * len(bars)
        for (label, sizes), colour in zip(_stacks(bars).items(), _STACK, strict=False):
            axis.barh(labels, sizes, left=bottom, color=colour, label=label)
            bottom = [one + size for one, size in zip(bottom, sizes, strict=True)]
        axis.invert_yaxis()
        axis.set(xlabel=f"MiB of the process, {largest} images at once")
        axis.set_title(model, fontsize=10)
        axis.legend(fontsize=8, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=_BELOW)
    figure.savefig(path, dpi=110)


def _stacks(bars: Sequence[Row]) -> dict[str, list[float]]:
    """What the process's memory is made of, one inside the other, in MiB."""
    weights = [one["weight_bytes"] / _MIB for one in bars]
    reserved = [(one.get("peak_reserved_bytes") or one["weight_bytes"]) / _MIB for one in bars]
    process = [one["process_bytes"] / _MIB for one in bars]
    between = [max(0.0, outer - inner) for outer, inner in zip(reserved, weights, strict=True)]
    rest = [
        max(0.0, outer - max(inner, w))
        for outer, inner, w in zip(process, reserved, weights, strict=True)
    ]
    found = {"weights": weights}
    if any(between):
        found["else that torch reserved"] = between
    return found | {"all else": rest}


def _branches(found: Mapping[str, Any], path: Path) -> None:
    """Each network's own time while all run, beside the time of all: less than the sum overlaps."""
    figure, panels = _figure(found, 1, 4.6)
    for model, (axis,) in panels:
        rows = [
            one
            for one in found["rows"]
            if one["model"] == model and one["name"] == "patched" and one.get("branch_ms")
        ]
        labels = [f"{one['executor'].replace('_', ' ')}, {one['batch']}" for one in rows]
        weak = [one["branch_ms"][0] / one["p50_ms"] for one in rows]
        module = [one["branch_ms"][1] / one["p50_ms"] for one in rows]
        axis.barh(labels, weak, color=_STACK[0], label="weak model")
        axis.barh(labels, module, left=weak, color=_STACK[1], label="module")
        axis.axvline(1, color="#e8590c", linewidth=1)
        axis.invert_yaxis()
        axis.set(xlabel="of the time of both; beyond the line they overlapped")
        axis.set_title(model, fontsize=10)
        axis.legend(fontsize=8, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=_BELOW)
    figure.savefig(path, dpi=110)
