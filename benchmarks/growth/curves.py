"""What was measured at each size, and the rows and fits that come of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.growth.fits import fit_growth

UNITS = ("seconds", "ms", "bytes")
"""A quantity's name ends with one of them."""


@dataclass
class Curves:
    """Values of one series, by quantity and size.

    Attributes:
        series: its name.
        values: name of a quantity to size to what was measured, a value a repeat.
    """

    series: str
    values: dict[str, dict[int, list[float]]] = field(default_factory=dict)

    def add(self, name: str, size: int, *found: float) -> None:
        """Note values of a quantity, whose name ends with its unit."""
        self.values.setdefault(name, {}).setdefault(size, []).extend(found)

    def rows(self) -> list[dict[str, Any]]:
        """A row a quantity and size, as JSON values."""
        return [
            {
                "series": self.series,
                "name": name,
                "size": size,
                "median": float(np.median(found)),
                "p90": float(np.percentile(found, 90)),
                "lowest": min(found),
                "highest": max(found),
                "repeats": len(found),
            }
            for name, sizes in self.values.items()
            for size, found in sorted(sizes.items())
        ]

    def fits(self) -> list[dict[str, Any]]:
        """How the median of each quantity grows, as JSON values; see `benchmarks.growth.fits.Fit`.

        Raises:
            ValueError: if a quantity was measured at one size alone, or is 0 somewhere.
        """
        return [
            {"series": self.series, "name": name, **_fit(name, sizes)}
            for name, sizes in self.values.items()
        ]


def _fit(name: str, sizes: dict[int, list[float]]) -> dict[str, Any]:
    medians = [float(np.median(found)) for found in sizes.values()]
    found = asdict(fit_growth(list(sizes), medians))
    unit = name.rpartition("_")[2]
    assert unit in UNITS, name
    per_item, at_none = found.pop("per_item"), found.pop("at_none")
    return found | {f"per_item_{unit}": per_item, f"at_none_{unit}": at_none}


def in_turns(sizes: Sequence[int], repeats: int, seed: int) -> Iterator[int]:
    """Every size as often as asked, in another order each round, so that drift favours none."""
    order, shuffle = list(sizes), random.Random(seed)
    for _ in range(repeats):
        shuffle.shuffle(order)
        yield from order


def seconds(work: Callable[[], Any]) -> float:
    """How long something takes."""
    began = perf_counter()
    work()
    return perf_counter() - began
