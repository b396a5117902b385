"""What is made of a soak that is over."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.soak.changes import AliasMove, Happened
from benchmarks.soak.run import _memory, _verdicts, all_met

FINE: dict[str, Any] = {"failures": 0}


def verdict_on_memory(grown: float | None) -> str:
    *_, last = _verdicts(FINE, Happened(), grown)
    assert "memory" in last["name"]
    assert last["found"] == grown
    return str(last["verdict"])


def test_memory_may_grow_by_less_than_a_twentieth() -> None:
    found = [verdict_on_memory(grown) for grown in (-0.5, 0.049, 0.05, 0.2, None)]
    assert found == ["met", "met", "missed", "missed", "undecided"]


def test_memory_is_that_of_whole_rounds_and_every_fifth_look_is_kept() -> None:
    looks = [(float(n), 100.0 + (n >= 20) * 5 + (n >= 40) * 200) for n in range(50)]
    found = _memory(looks, [10.0, 20.0, 40.0])
    assert found["growth"] == pytest.approx(0.05)
    assert found["round_bounds"] == [10, 20, 40]
    assert (found["first_mib"], found["last_mib"], found["most_mib"]) == (100, 305, 305)
    assert found["seen"] == looks[::5]


@pytest.mark.parametrize(
    ("failures", "served", "refused", "missed"),
    [
        (0, 1.0, [], None),
        (3, 1.0, [], "failed or wrong answers"),
        (0, None, [], "moves of the alias not followed"),
        (0, 1.0, ["no room"], "loads and unloads refused"),
    ],
)
def test_each_aim_is_missed_by_what_it_is_about(
    failures: int, served: float | None, refused: list[str], missed: str | None
) -> None:
    happened = Happened(moves=[AliasMove(20.0, "models:/served/2", served)], refused=refused)
    found = _verdicts({"failures": failures}, happened, 0.0)
    assert [one["name"] for one in found if one["verdict"] != "met"] == [missed] * bool(missed)
    assert all_met(found) == (missed is None)
