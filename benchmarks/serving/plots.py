"""What was measured, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_COLOURS = {
    "patched": "#0b7285",
    "litserve": "#7048e8",
    "starlette": "#e8590c",
    "mlflow": "#343a40",
}
_LABELS = {
    "patched": "patchbay serve",
    "litserve": "LitServe",
    "starlette": "plain Starlette",
    "mlflow": "mlflow models serve",
}
_SHOWN_BY_DEFAULT = "npy"
_ENDS = ("slowest", "fastest")

Row = Mapping[str, Any]


def save_plots(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Requests a second, latency and processor time against clients, a line a server.

    Args:
        found: what `benchmarks.serving.run.measure_serving` gives.
        folder: where the PNG goes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    rate, latency, cost = figure.subplots(1, 3)
    for name in _COLOURS:
        if line := _line(found["rows"], name, _payload(found)):
            _draw(rate, line, "requests_per_second", label=_LABELS[name])
            slowest, fastest = ([one[f"{which}_window"] for one in line] for which in _ENDS)
            clients = [one["clients"] for one in line]
            rate.fill_between(
                clients, slowest, fastest, color=_COLOURS[name], alpha=0.15, linewidth=0
            )
            _draw(latency, line, "p99_ms")
            _draw(latency, line, "p50_ms", style=":", linewidth=1)
            _draw(cost, line, "server_cpu_ms")
    rate.set(ylabel="requests/s", ylim=(0, None))
    rate.set_title("Median window; band: slowest to fastest", fontsize=10)
    latency.set(yscale="log", ylabel="ms")
    latency.set_title("p99 latency; dotted: the median", fontsize=10)
    latency.yaxis.set_major_formatter("{x:g}")
    cost.set(ylabel="processor ms a request", ylim=(0, None))
    cost.set_title("All processes of the server", fontsize=10)
    clients = sorted({one["clients"] for one in found["rows"] if one["arrivals"] == "closed"})
    for axis in (rate, latency, cost):
        axis.set(xscale="log", xlabel="clients")
        axis.set_xticks(clients, [str(one) for one in clients])
        axis.tick_params(axis="x", which="minor", bottom=False)
        axis.grid(axis="y", color="#dee2e6", linewidth=0.6)
    handles, labels = rate.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=9, frameon=False)
    about = found["environment"]
    figure.supxlabel(
        f"each server on one core of {about['processor']}", fontsize=8, color="#495057"
    )
    path = folder / "serving.png"
    figure.savefig(path, dpi=110)
    return [path]


def _payload(found: Mapping[str, Any]) -> str:
    """The service's form of request that the others' were compared with."""
    for one in found["comparisons"]:
        first, _, second = one["name"].partition(" / ")
        if first == "patched" and second in _COLOURS:
            return str(one["payload"])
    return _SHOWN_BY_DEFAULT


def _line(rows: Sequence[Row], name: str, payload: str) -> list[Row]:
    """A server's rows by clients; of another server than ours there is one form of request."""
    found = [
        one
        for one in rows
        if one["name"] == name
        and one["arrivals"] == "closed"
        and (name != "patched" or one["payload"] == payload)
        and one["p99_ms"] is not None
    ]
    return sorted(found, key=lambda one: int(one["clients"]))


def _draw(axis: Any, rows: Sequence[Row], column: str, style: str = "o-", **more: Any) -> None:
    """A line by clients in its server's colour."""
    clients = [one["clients"] for one in rows]
    colour = _COLOURS[rows[0]["name"]]
    axis.plot(clients, [one[column] for one in rows], style, color=colour, **more)
