"""Aims are judged on ratios within rounds, and only where there are enough of them."""

from __future__ import annotations

import pytest

from benchmarks.inference.aims import verdicts
from benchmarks.inference.latency import Latencies
from benchmarks.inference.settings import InferenceSettings

COSTS = {
    "module": {"multiply_adds": 25},
    "module_aligned": {"multiply_adds": 20},
    "strong": {"multiply_adds": 100},
}


def latencies(patched: float, *, executor: str, rounds: int = 50, batch: int = 1) -> Latencies:
    """Rounds that drift to twice their time, in which the ratios stay."""
    drift = [1 + number / rounds for number in range(rounds)]
    ms = {
        (name, executor): [value * one for one in drift]
        for name, value in {
            **{"weak": 4, "module": 2, "module_aligned": 2.2},
            **{"strong": 8, "patched": patched},
        }.items()
    }
    return Latencies(batch, ms, ms, {})


@pytest.mark.parametrize(
    ("patched", "rounds", "verdict"),
    [(6.2, 50, "met"), (6.4, 50, "missed"), (6.2, 49, "undecided")],
)
def test_on_a_cpu_the_sum_of_both_is_the_measure(patched: float, rounds: int, verdict: str) -> None:
    measured = [latencies(patched, executor="in_turn", rounds=rounds)]
    of_sum, of_share, aligned = verdicts(InferenceSettings(), measured, [], COSTS)
    assert of_sum["median"] == pytest.approx(patched / 6)
    assert of_sum["verdict"] == verdict
    assert of_share["median"] == pytest.approx((2 / 8) / (25 / 100))
    assert of_share["verdict"] == ("met" if rounds >= 50 else "undecided")
    assert aligned["median"] == pytest.approx((2.2 / 8) / (20 / 100))
    assert aligned["verdict"] == ("missed" if rounds >= 50 else "undecided")


def test_a_model_whose_strong_one_is_not_there_is_judged_by_the_sum_alone() -> None:
    measured = [latencies(6.2, executor="in_turn")]
    [one] = verdicts(InferenceSettings(), measured, [], {"module": {"multiply_adds": 25}})
    assert one["name"] == "patched / (weak + module)"


def test_on_a_gpu_the_weak_model_s_time_and_memory_are_the_measure() -> None:
    settings = InferenceSettings(device="cuda", batches=(1, 32))
    measured = [latencies(4.3, executor="graphs"), latencies(7, executor="graphs", batch=32)]
    rows = [
        {"name": name, "executor": "graphs", "batch": batch, "process_bytes": held}
        for batch in (1, 32)
        for name, held in (("weak", 1000), ("patched", 1090 if batch == 1 else 1200))
    ]
    found = {
        (one["name"], one["batch"]): one["verdict"]
        for one in verdicts(settings, measured, rows, COSTS)
    }
    assert found == {
        ("patched / weak", 1): "met",
        ("patched / (weak + module)", 1): "met",
        ("patched / (weak + module)", 32): "missed",
        ("memory of the process, patched / weak", 1): "met",
        ("memory of the process, patched / weak", 32): "missed",
    }
