"""When requests are to be sent: fixed beforehand, whatever the answers do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Literal

Arrivals = Literal["steady", "poisson", "bursts"]

BURST_PERIOD_SECONDS = 1.0
BURST_SHARE = 0.25
BURST_FACTOR = 3.0
"""Bursts: a quarter of each second at three times the rate, the rest at a third of it."""

_LULL_FACTOR = (1 - BURST_SHARE * BURST_FACTOR) / (1 - BURST_SHARE)


def send_times(kind: Arrivals, rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Seconds from the start at which requests are to be sent, in order.

    Args:
        kind: steady: evenly spaced; poisson: each moment as likely as any other, independent of
            all others; bursts: poisson with a rate that changes, the same on average.
        rate: requests a second, above 0.
        seconds: all times are below it.
        seed: of what is drawn.
    """
    if kind == "steady":
        return _steady(rate, seconds)
    random = Random(seed)
    if kind == "poisson":
        return _poisson(rate, seconds, random, lambda _: 1.0)
    return _poisson(rate * BURST_FACTOR, seconds, random, _burst_share)


def _steady(rate: float, seconds: float) -> Iterator[float]:
    number = 0
    while (at := number / rate) < seconds:
        yield at
        number += 1


def _poisson(
    highest_rate: float, seconds: float, random: Random, share: Callable[[float], float]
) -> Iterator[float]:
    """A Poisson process thinned to a share of the highest rate that depends on the time."""
    at = random.expovariate(highest_rate)
    while at < seconds:
        if random.random() < share(at):
            yield at
        at += random.expovariate(highest_rate)


def _burst_share(at: float) -> float:
    in_burst = at % BURST_PERIOD_SECONDS < BURST_SHARE * BURST_PERIOD_SECONDS
    return 1.0 if in_burst else _LULL_FACTOR / BURST_FACTOR
