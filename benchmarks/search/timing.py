"""Timing a piece of work several times."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Seconds:
    """How long something took.

    Attributes:
        median: of all repeats.
        low: the fastest repeat.
        high: the slowest.
        repeats: how many, after one that is not counted.
    """

    median: float
    low: float
    high: float
    repeats: int

    @classmethod
    def of(cls, took: Sequence[float]) -> Seconds:
        """What some repeats took."""
        return cls(statistics.median(took), min(took), max(took), len(took))


def timed(work: Callable[[], Any], *, repeats: int) -> Seconds:
    """Time ``work`` ``repeats`` times, after once that is not counted."""
    work()
    took = []
    for _ in range(repeats):
        began = perf_counter()
        work()
        took.append(perf_counter() - began)
    return Seconds.of(took)
