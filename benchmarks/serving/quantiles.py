"""Quantiles of a list of numbers, without numpy: the load generator is to start and stay small."""

from __future__ import annotations

from collections.abc import Sequence


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value below which a share of the values lies, interpolated between neighbours.

    Args:
        values: in any order.
        share: in [0, 1]; 0.5 gives the median.

    Returns:
        As ``numpy.quantile``; None if there is no value.
    """
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
