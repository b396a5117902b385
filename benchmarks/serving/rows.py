"""Windows of load as the rows of a table."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.serving.answers import OK, REFUSED
from benchmarks.serving.orders import Answered, Window
from benchmarks.serving.quantiles import quantile

_NONE = Answered(sent_s=(), latency_ms=(), answer_ms=())


@dataclass(frozen=True)
class Measured:
    """One window and what it cost the server.

    Attributes:
        window: what the load generator tells.
        cpu_seconds: processor time of the server's processes, warm-up and grace included.
        rss_mib: the most memory that these held together, of two looks a second.
    """

    window: Window
    cpu_seconds: float
    rss_mib: float

    @property
    def cpu_ms(self) -> float:
        """Of the server, for each request that it was sent."""
        return 1000 * self.cpu_seconds / max(1, self.window.asked)

    @property
    def requests_per_second(self) -> float:
        """Right answers a second; of an open loop those that came before the window's end."""
        ok = self.window.answered.get(OK, _NONE)
        ends = self.window.seconds
        in_time = sum(
            sent + latency / 1000 < ends
            for sent, latency in zip(ok.sent_s, ok.latency_ms, strict=True)
        )
        return in_time / ends


def failures(window: Window) -> Counter[str]:
    """How many requests got no right answer, by what they got."""
    found = Counter({kind: len(a.sent_s) for kind, a in window.answered.items() if kind != OK})
    found.update({"unanswered": window.unanswered, "unsent": window.unsent})
    return +found


def row(name: str, payload: str, measured: Sequence[Measured], **more: Any) -> dict[str, Any]:
    """What some windows of the same load come to, as JSON values.

    Args:
        name: who was asked: patched, weak, or another server.
        payload: in which form.
        measured: at least one.
        more: what else belongs in the row, such as ``clients``.

    Returns:
        Rates and costs are medians of the windows, latencies quantiles of all right answers,
        memory is the most of any window.
    """
    rates = [one.requests_per_second for one in measured]
    latency_ms = [ms for one in measured for ms in one.window.answered.get(OK, _NONE).latency_ms]
    refused = [one.window.answered.get(REFUSED, _NONE) for one in measured]
    failed: Counter[str] = Counter()
    for one in measured:
        failed += failures(one.window)
    late = [one.window.late_ms for one in measured if one.window.late_ms is not None]
    found = {
        "name": name,
        "payload": payload,
        **more,
        "requests_per_second": statistics.median(rates),
        "slowest_window": min(rates),
        "fastest_window": max(rates),
        "windows": len(measured),
        "answers": len(latency_ms),
        "p50_ms": quantile(latency_ms, 0.5),
        "p99_ms": quantile(latency_ms, 0.99),
        "failures": sum(failed.values()),
        "failures_by_kind": dict(sorted(failed.items())),
        "server_cpu_ms": statistics.median(one.cpu_ms for one in measured),
        "rss_mib": max(one.rss_mib for one in measured),
        "generator_cpu_share": max(one.window.cpu_share for one in measured),
    }
    examples = {kind: text for one in measured for kind, text in one.window.examples.items()}
    if failed and examples:
        found["examples"] = examples
    if any(one.sent_s for one in refused):
        since_due = [ms for one in refused for ms in one.latency_ms]
        since_sent = [ms for one in refused for ms in one.answer_ms]
        found["refused_p99_ms"] = quantile(since_due, 0.99)
        found["refused_answer_p99_ms"] = quantile(since_sent, 0.99)
    if late:
        found["generator_late_p99_ms"] = max(late)
    return found
