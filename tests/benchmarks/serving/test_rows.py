from __future__ import annotations

from typing import Any

import pytest

from benchmarks.serving.comparisons import compare_peers, compare_sides, overhead
from benchmarks.serving.networks import NetworkTimes
from benchmarks.serving.orders import Answered, Window
from benchmarks.serving.rounds import Rounds
from benchmarks.serving.rows import Measured, row


def measured(
    ok: int,
    *,
    cpu_seconds: float = 1.0,
    rss_mib: float = 100.0,
    latency_ms: float = 1.0,
    seconds: float = 1.0,
    **more: Any,
) -> Measured:
    """A window with that many right answers, evenly spaced."""
    sent = tuple(seconds * number / (ok + 1) for number in range(ok))
    answered = {"ok": Answered(sent_s=sent, latency_ms=(latency_ms,) * ok, answer_ms=(0.5,) * ok)}
    answered |= more.pop("answered", {})
    window: dict[str, Any] = {
        "unanswered": 0,
        "unsent": 0,
        "asked": max(ok, 1),
        "late_ms": None,
        "cpu_share": 0.1,
    }
    window |= {"examples": {}} | more
    return Measured(Window(seconds=seconds, answered=answered, **window), cpu_seconds, rss_mib)


def test_a_row_tells_medians_of_windows_and_quantiles_of_all_answers() -> None:
    windows = [
        measured(100, latency_ms=1, cpu_share=0.2),
        measured(300, latency_ms=3, cpu_seconds=0.9, late_ms=2.0, rss_mib=150.0),
        measured(200, latency_ms=2),
    ]
    found = row("patched", "npy", windows, clients=8)
    assert (found["name"], found["payload"], found["clients"]) == ("patched", "npy", 8)
    assert found["requests_per_second"] == 200
    assert (found["slowest_window"], found["fastest_window"], found["windows"]) == (100, 300, 3)
    assert (found["p50_ms"], found["p99_ms"], found["answers"]) == (2.5, 3, 600)
    assert found["server_cpu_ms"] == pytest.approx(5)  # of 10, 3 and 5
    assert found["rss_mib"] == 150
    assert (found["failures"], found["failures_by_kind"]) == (0, {})
    assert (found["generator_cpu_share"], found["generator_late_p99_ms"]) == (0.2, 2.0)
    assert "refused_p99_ms" not in found


def test_failures_are_no_answers() -> None:
    busy = Answered(sent_s=(0.1, 0.2), latency_ms=(1.0, 3.0), answer_ms=(0.5, 0.5))
    failing = measured(
        10, answered={"503": busy}, unanswered=1, unsent=4, examples={"503": "busy"}, asked=13
    )
    found = row("patched", "npy", [failing, measured(20)])
    assert found["requests_per_second"] == 15
    assert found["failures_by_kind"] == {"503": 2, "unanswered": 1, "unsent": 4}
    assert found["failures"] == 7
    assert found["refused_p99_ms"] == pytest.approx(2.98)
    assert found["refused_answer_p99_ms"] == 0.5
    assert found["examples"] == {"503": "busy"}


def test_answers_after_the_window_are_no_part_of_its_rate() -> None:
    slow = measured(10, latency_ms=500)
    assert slow.requests_per_second == 6  # the others were sent in the second half
    assert row("patched", "npy", [slow])["answers"] == 10


def test_a_window_without_any_answer_is_a_row_too() -> None:
    found = row("patched", "npy", [measured(0, unanswered=3)])
    assert found["requests_per_second"] == 0
    assert (found["p50_ms"], found["p99_ms"]) == (None, None)


PATCHED, WEAK, MLFLOW = ("patched", "npy", 8), ("weak", "npy", 8), ("mlflow", "split", 8)


def rounds(patched: list[Measured], weak: list[Measured], mlflow: list[Measured]) -> Rounds:
    times = [NetworkTimes(images=8, weak_ms=1.0, module_ms=0.5, repeats=9)] * len(patched)
    return Rounds({PATCHED: patched, WEAK: weak, MLFLOW: mlflow}, {8: times})


def test_ratios_are_of_pairs_and_judged_against_what_the_networks_allow() -> None:
    # The machine is ten times slower in every other round: only pairs tell the ratio.
    speeds = [1000, 100] * 3
    found = rounds(
        [measured(speed * 7 // 10) for speed in speeds],
        [measured(speed) for speed in speeds],
        [measured(speed // 5) for speed in speeds],
    )
    plain, share = compare_sides(found, PATCHED, WEAK)
    assert plain["median"] == pytest.approx(0.7)
    assert plain["low"] == pytest.approx(plain["high"])
    assert plain["aim"] is None
    assert share["median"] == pytest.approx(0.7 * 1.5)
    assert (share["pairs"], share["verdict"]) == (6, "met")
    times = compare_peers(found, PATCHED, MLFLOW)
    assert times["median"] == pytest.approx(3.5)
    assert (times["aim"], times["verdict"]) == (2.0, "met")


def test_only_mlflow_is_there_to_be_beaten() -> None:
    rate = [measured(300)] * 5
    litserve = ("litserve", "npy", 8)
    found = Rounds({PATCHED: rate, litserve: [measured(200)] * 5}, {})
    times = compare_peers(found, PATCHED, litserve)
    assert (times["name"], times["median"], times["aim"]) == ("patched / litserve", 1.5, None)
    assert "verdict" not in times


def test_what_failed_is_not_compared() -> None:
    wrong = Answered(sent_s=(0.1,), latency_ms=(1.0,), answer_ms=(1.0,))
    failing = [measured(100, answered={"wrong label": wrong})] * 6
    found = rounds([measured(1000)] * 6, failing, [measured(0)] * 6)
    _, share = compare_sides(found, PATCHED, WEAK)
    assert (share["failures"], share["verdict"]) == (6, "undecided")
    nothing = compare_peers(found, PATCHED, MLFLOW)
    assert (nothing["median"], nothing["verdict"]) == (None, "undecided")


def test_overhead_is_what_the_networks_do_not_take() -> None:
    found = Rounds(
        {("patched", "npy", 1): [measured(100, cpu_seconds=0.35)] * 5},
        {1: [NetworkTimes(images=1, weak_ms=1.0, module_ms=0.5, repeats=9)] * 5},
    )
    of = overhead(found, ("patched", "npy", 1))
    assert of["median"] == pytest.approx(2.0)
    assert (of["aim"], of["sense"], of["verdict"]) == (2.5, "at most", "met")
