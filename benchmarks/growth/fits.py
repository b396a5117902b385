"""How a quantity grows with a size: as a power of it, and as a part for each item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LARGEST = 3

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """Two lines through the same points, each by least squares.

    Attributes:
        exponent: b of ``a x^b``, on log-log. A part that does not grow makes it smaller.
        factor: a of it.
        exponent_r_squared: share of the variance of log y that it explains, in [0, 1].
        largest_exponent: the same of the three largest sizes alone, where there are more: a part
            that does not grow counts least there.
        per_item: d of ``c + d x``.
        at_none: c of it. The largest sizes decide this line, so it may be off at small ones.
        r_squared: share of the variance of y that it explains, in [0, 1].
    """

    exponent: float
    factor: float
    exponent_r_squared: float
    largest_exponent: float | None
    per_item: float
    at_none: float
    r_squared: float

    def power(self, size: float) -> float:
        """What ``a x^b`` gives for a size."""
        return float(self.factor * size**self.exponent)


def fit_growth(sizes: Sequence[float], values: Sequence[float]) -> Fit:
    """Fit both lines.

    Args:
        sizes: two different ones at least, each above 0.
        values: one for each size, each above 0.

    Raises:
        ValueError: if there are fewer, or one is not a finite number above 0.
    """
    x, y = np.asarray(sizes, np.float64), np.asarray(values, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"expected a value for each size, found {len(x)} and {len(y)}")
    if len(np.unique(x)) < 2:
        raise ValueError(f"growth needs two different sizes at least, found {list(sizes)}")
    for name, found in (("size", x), ("value", y)):
        wrong = found[~(np.isfinite(found) & (found > 0))]
        if len(wrong):
            raise ValueError(f"expected each {name} to be a number above 0, found {wrong[0]}")
    exponent, log_factor, explained = _line(np.log(x), np.log(y))
    per_item, at_none, linear_explained = _line(x, y)
    return Fit(
        exponent=exponent,
        factor=float(np.exp(log_factor)),
        exponent_r_squared=explained,
        largest_exponent=_largest_exponent(x, y),
        per_item=per_item,
        at_none=at_none,
        r_squared=linear_explained,
    )


def _largest_exponent(x: Values, y: Values) -> float | None:
    largest = np.unique(x)[-_LARGEST:]
    chosen = np.isin(x, largest)
    if len(largest) < _LARGEST or chosen.all():
        return None
    return _line(np.log(x[chosen]), np.log(y[chosen]))[0]


def _line(x: Values, y: Values) -> tuple[float, float, float]:
    """Slope, height at 0, and the share of the variance that the line explains."""
    centred = x - x.mean()
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    height = float(y.mean() - slope * x.mean())
    left = float(((y - height - slope * x) ** 2).sum())
    total = float(((y - y.mean()) ** 2).sum())
    flat = total <= 1e-24 * max(1e-300, float((y**2).sum()))  # all equal but for rounding
    return slope, height, 1.0 if flat else max(0.0, 1 - left / total)
