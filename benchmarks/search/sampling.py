"""Doing a share of some work, and what all of it would take."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Sampled:
    """How much of some work was done and timed.

    Attributes:
        seconds: what all of it takes: as measured, or scaled up from what was done.
        done: pieces done.
        total: pieces there are.
    """

    seconds: float
    done: int
    total: int

    @classmethod
    def of(cls, seconds: float, done: int, total: int) -> Sampled:
        """Scale up from what was done."""
        return cls(seconds * total / done, done, total)


def sample_of(total: int, share: float) -> list[int]:
    """Evenly spread indices below ``total``: at least that share of them, in (0, 1]."""
    count = min(math.ceil(total * share), total)
    return [place * total // count for place in range(count)]
