"""Whether the memory that a server holds under load grows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

_FEWEST_LOOKS = 10


def growth(seen: Sequence[tuple[float, float]], *, bounds: Sequence[float]) -> float | None:
    """By what share memory has grown: the median of the last whole round against that of the first.

    A server holds more or less by the version that is active; rounds in which each version has had
    its turn can be compared.

    Args:
        seen: seconds and MiB, in order.
        bounds: the seconds at which one round ends and the next begins, in order.

    Returns:
        0.05 for 5 % more, below 0 for less; None if there are fewer than two whole rounds, or
        fewer than 10 looks in one of the two, which say nothing.
    """
    rounds = [
        [mib for seconds, mib in seen if begins <= seconds < ends]
        for begins, ends in pairwise(bounds)
    ]
    if len(rounds) < 2 or min(len(rounds[0]), len(rounds[-1])) < _FEWEST_LOOKS:
        return None
    return median(rounds[-1]) / median(rounds[0]) - 1
