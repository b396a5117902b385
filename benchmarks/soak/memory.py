"""Whether the memory that a server holds under load grows."""

from __future__ import annotations

from statistics import median

_STRETCH = 0.1
_FEWEST_LOOKS = 20


def growth(seen: list[tuple[float, float]], *, after_seconds: float) -> float | None:
    """By what share memory has grown: the median of the last tenth against that of the first.

    Args:
        seen: seconds and MiB, in order.
        after_seconds: what came before is warm-up.

    Returns:
        0.05 for 5 % more, below 0 for less; None if there were fewer than 20 looks after the
        warm-up, which say nothing.
    """
    held = [mib for seconds, mib in seen if seconds >= after_seconds]
    if len(held) < _FEWEST_LOOKS:
        return None
    stretch = round(len(held) * _STRETCH)
    return median(held[-stretch:]) / median(held[:stretch]) - 1
