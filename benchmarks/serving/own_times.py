"""Requests that come at times of their own, up to more than can be answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.serving.answers import OK, REFUSED
from benchmarks.serving.asking import Asking, ask
from benchmarks.serving.generator import LoadGenerator
from benchmarks.serving.orders import ClosedLoop, OpenLoop
from benchmarks.serving.quantiles import quantile
from benchmarks.serving.rows import Measured, row
from benchmarks.serving.settings import ServingBenchSettings
from benchmarks.serving.verdicts import Sense, estimate, judge, recovery_seconds
from serving.settings import Settings

LOAD_SHARE = 0.6
OVERLOAD = 3.0
RECOVERY_SHARE = 0.5
_RECOVERED_BELOW = 2.0
"""Times the median latency of steady load."""

GOODPUT_AIM = 0.9
"""Of the peak, while three times as much is asked."""

REFUSAL_AIM_MS = 50.0
"""Until who is refused has heard of it, 99 of 100."""

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

    Each of the windows with too much comes after one at the peak, which it is compared with.

    Args:
        generator: puts the load.
        asking: on whom.
        settings: how long.
        peak_per_second: requests a second that were answered at best; sets the rates.

    Returns:
        A row for each rhythm, and what the overload did.
    """
    rate = max(1.0, LOAD_SHARE * peak_per_second)

    def load(loop: OpenLoop, grace_seconds: float = 15.0) -> Measured:
        seconds = settings.open_seconds
        return ask(generator, asking, loop, seconds=seconds, grace_seconds=grace_seconds)

    def as_row(loop: OpenLoop, measured: Sequence[Measured], arrivals: str) -> dict[str, Any]:
        more = {"clients": None, "arrivals": arrivals, "offered_per_second": loop.rate}
        return row(asking.name, asking.payload.name, measured, **more)

    rows = []
    for rhythm in ("steady", "poisson", "bursts"):
        loop = OpenLoop.model_validate({"arrivals": rhythm, "rate": rate, "seed": settings.seed})
        rows.append(as_row(loop, [load(loop)], rhythm))
    flood = OpenLoop(
        arrivals="steady",
        rate=max(1.0, OVERLOAD * peak_per_second),
        connections=2 * Settings().queue_images,
    )
    peaks, floods = [], []
    for _ in range(settings.rounds):
        peaks.append(_peak(generator, asking, settings))
        floods.append(load(flood, _PATIENCE_SECONDS))
    flooded = as_row(flood, floods, "overload")
    after = OpenLoop(arrivals="steady", rate=max(1.0, RECOVERY_SHARE * peak_per_second))
    calm = load(after)
    rows += [flooded, as_row(after, [calm], "after overload")]
    steady_ms = rows[0]["p50_ms"]
    limit_ms = None if steady_ms is None else _RECOVERED_BELOW * steady_ms
    overload = {
        "offered_per_second": flood.rate,
        "connections": flood.connections,
        "goodput_per_second": flooded["requests_per_second"],
        "goodput_share_of_peak": _goodput(peaks, floods),
        "refused": flooded["failures_by_kind"].get(REFUSED, 0),
        "refused_p99_ms": flooded.get("refused_p99_ms"),
        "refused_answer_p99_ms": _refusals(floods),
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


def _peak(generator: LoadGenerator, asking: Asking, settings: ServingBenchSettings) -> Measured:
    return ask(
        *(generator, asking, ClosedLoop(clients=max(settings.clients))),
        seconds=settings.window_seconds,
        warm_up_seconds=settings.warm_up_seconds,
    )


def _goodput(peaks: Sequence[Measured], floods: Sequence[Measured]) -> dict[str, Any]:
    """Right answers a second beside those of the window before, at the peak."""
    ratios = [
        flood.requests_per_second / max(peak.requests_per_second, 1e-9)
        for peak, flood in zip(peaks, floods, strict=True)
    ]
    return _judged(ratios, GOODPUT_AIM, "at least")


def _refusals(floods: Sequence[Measured]) -> dict[str, Any] | None:
    """The 99 % quantile of the refusals' milliseconds, by window; None if nobody was refused."""
    refused = [one.window.answered.get(REFUSED) for one in floods]
    quantiles = [quantile(one.answer_ms, 0.99) for one in refused if one is not None]
    known = [one for one in quantiles if one is not None]
    return _judged(known, REFUSAL_AIM_MS, "at most") if known else None


def _judged(values: Sequence[float], aim: float, sense: Sense) -> dict[str, Any]:
    found = estimate(values)
    return {
        "median": found.median,
        "low": found.low,
        "high": found.high,
        "pairs": found.pairs,
        "each": list(values),
        "aim": aim,
        "verdict": judge(found, aim, sense),
    }
