"""The paper's claims beside what was measured."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.inference.claims import claims

MIB = 2**20


def row(executor: str, batch: int, ratio: float, name: str = "patched", **more: Any) -> Any:
    return {
        **{"name": name, "executor": executor, "batch": batch, "ratio_to_weak": ratio},
        **{"ratio_low": ratio - 0.01, "ratio_high": ratio + 0.01},
        **{"weight_bytes": None, "process_bytes": None},
        **more,
    }


def rows(*threads: float) -> list[Any]:
    """In turn 1.4 times at each batch; side by side as said."""
    found = []
    for batch, ratio in zip((1, 8, 32), threads, strict=True):
        found += [row("in_turn", batch, 1.0, "weak"), row("in_turn", batch, 1.4)]
        found.append(row("threads", batch, ratio))
    return found


@pytest.mark.parametrize(
    ("threads", "holds_at"),
    [((1.0, 1.03, 1.2), [1, 8]), ((1.0, 1.05, 1.0), [1, 32]), ((1.2, 1.1, 1.3), [])],
)
def test_no_extra_time_holds_where_the_whole_interval_says_so(
    threads: tuple[float, float, float], holds_at: list[int]
) -> None:
    time, _ = claims(rows(*threads), "in_turn")
    assert time["holds_at"] == holds_at
    assert [one["ratio_to_weak"] for one in time["fastest"]] == [min(1.4, t) for t in threads]
    assert {one["executor"] for one in time["fastest"]} == {"threads"}


def test_a_wide_interval_does_not_hide_a_narrow_one() -> None:
    measured = [row("in_turn", 8, 1.0, "weak"), row("threads", 8, 1.0)]
    measured.append(row("two_processes", 8, 0.99, ratio_high=1.2))
    time, _ = claims([*measured, row("in_turn", 8, 1.4)], "in_turn")
    assert time["holds_at"] == [8]
    assert time["fastest"][0]["executor"] == "threads"


def test_memory_is_compared_at_the_smallest_batch() -> None:
    measured = [
        row("in_turn", 8, 1.0, "weak", weight_bytes=60 * MIB, process_bytes=900 * MIB),
        row("in_turn", 8, 1.3, weight_bytes=75 * MIB, process_bytes=980 * MIB),
        row("in_turn", 1, 1.0, "weak", weight_bytes=60 * MIB, process_bytes=200 * MIB),
        row("in_turn", 1, 1.3, weight_bytes=75 * MIB, process_bytes=220 * MIB),
    ]
    _, memory = claims(measured, "in_turn")
    assert memory["process_ratio"] == pytest.approx(1.1)
    assert memory["weights_ratio"] == pytest.approx(1.25)
    assert memory["paper_ratio"] == pytest.approx(1.53, abs=0.001)


def test_memory_that_was_not_measured_is_none() -> None:
    _, memory = claims(rows(1, 1, 1), "in_turn")
    assert memory["process_ratio"] is None
    assert memory["weights_ratio"] is None
