"""Ratios between rows of one run, and whether they meet what is aimed at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.serving.rounds import Key, Rounds
from benchmarks.serving.rows import Measured, failures
from benchmarks.serving.verdicts import Sense, estimate, judge

PATCHED_SHARE_AIM = 0.95
"""Of the weak model's speed times what its network's share of both networks' time allows."""

MLFLOW_AIM = 2.0
"""Times MLflow's server, each with its best form of request, where several clients ask."""

OVERHEAD_AIM_MS = 2.5
"""Processor time of the service for a request of one client, beyond that of the networks."""


def compare_sides(rounds: Rounds, patched: Key, weak: Key) -> list[dict[str, Any]]:
    """How fast the patched model is answered with beside the weak model alone.

    Args:
        rounds: what was measured.
        patched: a row.
        weak: the same with the weak model alone.
    """
    pairs = rounds.pairs(patched, weak)
    ratios = [_ratio(*pair) for pair in pairs]
    allowed = [networks.allowed_share for networks in rounds.networks[patched[2]]]
    shares = [ratio / share for ratio, share in zip(ratios, allowed, strict=True)]
    return [
        _comparison("patched / weak", patched, pairs, ratios),
        _comparison(
            "patched / weak, as a share of what the networks allow",
            *(patched, pairs, shares),
            aim=PATCHED_SHARE_AIM,
        ),
    ]


def compare_peers(rounds: Rounds, ours: Key, theirs: Key) -> dict[str, Any]:
    """How many times as fast as another server the service answers; the aim is of MLflow's alone.

    Args:
        rounds: what was measured.
        ours: a row.
        theirs: the other's, with as many clients.
    """
    pairs = rounds.pairs(ours, theirs)
    ratios = [_ratio(*pair) for pair in pairs]
    aim = MLFLOW_AIM if theirs[0] == "mlflow" and ours[2] > 1 else None
    return _comparison(f"{ours[0]} / {theirs[0]}", ours, pairs, ratios, aim=aim)


def overhead(rounds: Rounds, row: Key) -> dict[str, Any]:
    """The service's processor time for a request, less that of the bare networks, in ms.

    Args:
        rounds: what was measured.
        row: of the patched model.
    """
    windows = rounds.measured[row]
    values = [
        one.cpu_ms - networks.both_ms
        for one, networks in zip(windows, rounds.networks[row[2]], strict=True)
    ]
    name = "service overhead, CPU ms a request"
    aim = OVERHEAD_AIM_MS if row[2] == 1 else None
    return _comparison(name, row, [(one,) for one in windows], values, aim=aim, sense="at most")


def _ratio(first: Measured, second: Measured) -> float:
    slower = second.requests_per_second
    return first.requests_per_second / slower if slower else float("inf")


def _comparison(
    name: str,
    row: Key,
    windows: Sequence[tuple[Measured, ...]],
    values: Sequence[float],
    *,
    aim: float | None = None,
    sense: Sense = "at least",
) -> dict[str, Any]:
    failed = sum(failures(one.window).total() for pair in windows for one in pair)
    found: dict[str, Any] = {"name": name, "payload": row[1], "clients": row[2]}
    found |= {"failures": failed, "aim": aim, "sense": sense}
    finite = [value for value in values if value != float("inf")]
    if len(finite) < len(values):
        return found | {"median": None, "low": None, "high": None, "verdict": "undecided"}
    of = estimate(values)
    found |= {"median": of.median, "low": of.low, "high": of.high, "pairs": of.pairs}
    found["each"] = list(values)
    if aim is not None:
        # Where answers failed, the two did not do the same work.
        found["verdict"] = "undecided" if failed else judge(of, aim, sense)
    return found
