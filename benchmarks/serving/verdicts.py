"""What pairs of measurements come to, and whether that meets an aim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["met", "missed", "undecided"]
Sense = Literal["at least", "at most"]

FEWEST_PAIRS = 5
"""With fewer, an interval drawn from the pairs themselves says nothing."""

_DRAWS = 4000


@dataclass(frozen=True)
class Estimate:
    """The median of some pairs' values, and how sure it is.

    Attributes:
        median: of the pairs' values.
        low: lower end of its 95 % bootstrap interval.
        high: upper end.
        pairs: how many there were.
    """

    median: float
    low: float
    high: float
    pairs: int


def estimate(values: Sequence[float], *, seed: int = 0) -> Estimate:
    """The median of the values with a percentile bootstrap interval.

    Args:
        values: one a pair, at least one.
        seed: of the draws.
    """
    found = np.asarray(values, np.float64)
    draws = np.random.default_rng(seed).integers(0, len(found), (_DRAWS, len(found)))
    low, high = np.percentile(np.median(found[draws], axis=1), (2.5, 97.5))
    return Estimate(float(np.median(found)), float(low), float(high), len(found))


def judge(found: Estimate, aim: float, sense: Sense) -> Verdict:
    """Whether an aim is met: undecided if the interval holds it inside, or pairs are few.

    Args:
        found: what was measured.
        aim: what it is to be.
        sense: whether more is better, or less.
    """
    if found.pairs < FEWEST_PAIRS:
        return "undecided"
    worst, best = (found.low, found.high) if sense == "at least" else (-found.high, -found.low)
    wanted = aim if sense == "at least" else -aim
    if worst >= wanted:
        return "met"
    return "missed" if best < wanted else "undecided"


def recovery_seconds(
    sent_s: Sequence[float],
    latency_ms: Sequence[float],
    *,
    limit_ms: float,
    bin_seconds: float = 0.5,
) -> float | None:
    """When a service was back to itself: from then on, the median of each stretch is in limits.

    Args:
        sent_s: when each request was sent, from the moment that the overload ended.
        latency_ms: of each; infinite for one that failed.
        limit_ms: what a stretch's median may be.
        bin_seconds: how long a stretch is.

    Returns:
        Seconds, a multiple of ``bin_seconds``; 0 if no stretch was out of limits; None if the
        last one was, or there was no request.
    """
    bins: dict[int, list[float]] = {}
    for sent, latency in zip(sent_s, latency_ms, strict=True):
        bins.setdefault(int(sent // bin_seconds), []).append(latency)
    if not bins:
        return None
    slow = [number for number, found in bins.items() if float(np.median(found)) > limit_ms]
    if not slow:
        return 0.0
    last = max(slow)
    return None if last == max(bins) else (last + 1) * bin_seconds
