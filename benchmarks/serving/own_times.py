"""Requests that come at times of their own, up to more than can be answered."""

from __future__ import annotations

from typing import Any

from benchmarks.serving.answers import OK, REFUSED
from benchmarks.serving.asking import Asking, ask
from benchmarks.serving.generator import LoadGenerator
from benchmarks.serving.orders import OpenLoop
from benchmarks.serving.rows import Measured, row
from benchmarks.serving.settings import ServingBenchSettings
from benchmarks.serving.verdicts import recovery_seconds
from serving.settings import Settings

LOAD_SHARE = 0.6
OVERLOAD = 3.0
RECOVERY_SHARE = 0.5
_RECOVERED_BELOW = 2.0
"""Times the median latency of steady load."""

_PATIENCE_SECONDS = 0.1
"""Of who waits when the overload ends: what comes after it meets what they have left behind."""


def run_own_times(
    generator: LoadGenerator,
    asking: Asking,
    settings: ServingBenchSettings,
    *,
    peak_per_second: float,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Load at a share of the peak in three rhythms, then three times the peak, then less again.

    Args:
        generator: puts the load.
        asking: on whom.
        settings: how long.
        peak_per_second: requests a second that were answered at best.

    Returns:
        A row for each rhythm, and what the overload did.
    """
    rate = max(1.0, LOAD_SHARE * peak_per_second)

    def load(loop: OpenLoop, grace_seconds: float = 15.0) -> Measured:
        seconds = settings.open_seconds
        return ask(generator, asking, loop, seconds=seconds, grace_seconds=grace_seconds)

    def as_row(loop: OpenLoop, measured: Measured, arrivals: str) -> dict[str, Any]:
        more = {"clients": None, "arrivals": arrivals, "offered_per_second": loop.rate}
        return row(asking.name, asking.payload.name, [measured], **more)

    rows = []
    for rhythm in ("steady", "poisson", "bursts"):
        loop = OpenLoop.model_validate({"arrivals": rhythm, "rate": rate, "seed": settings.seed})
        rows.append(as_row(loop, load(loop), rhythm))
    flood = OpenLoop(
        arrivals="steady",
        rate=max(1.0, OVERLOAD * peak_per_second),
        connections=2 * Settings().queue_images,
    )
    flooded = as_row(flood, load(flood, _PATIENCE_SECONDS), "overload")
    after = OpenLoop(arrivals="steady", rate=max(1.0, RECOVERY_SHARE * peak_per_second))
    calm = load(after)
    rows += [flooded, as_row(after, calm, "after overload")]
    steady_ms = rows[0]["p50_ms"]
    limit_ms = None if steady_ms is None else _RECOVERED_BELOW * steady_ms
    overload = {
        "offered_per_second": flood.rate,
        "connections": flood.connections,
        "goodput_per_second": flooded["requests_per_second"],
        "goodput_share_of_peak": flooded["requests_per_second"] / peak_per_second,
        "refused": flooded["failures_by_kind"].get(REFUSED, 0),
        "refused_p99_ms": flooded.get("refused_p99_ms"),
        "refused_answer_p99_ms": flooded.get("refused_answer_p99_ms"),
        "other_failures": {k: n for k, n in flooded["failures_by_kind"].items() if k != REFUSED},
        "recovered_below_ms": limit_ms,
        "recovery_seconds": None if limit_ms is None else _recovery(calm, limit_ms),
    }
    return rows, overload


def _recovery(calm: Measured, limit_ms: float) -> float | None:
    """Seconds until latencies were those of steady load again; failures count as endless ones."""
    sent_s: list[float] = []
    latency_ms: list[float] = []
    for kind, answered in calm.window.answered.items():
        sent_s += answered.sent_s
        latency_ms += answered.latency_ms if kind == OK else [float("inf")] * len(answered.sent_s)
    return recovery_seconds(sent_s, latency_ms, limit_ms=limit_ms)
