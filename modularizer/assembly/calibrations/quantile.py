"""The paper's calibration with robust ends: one odd image does not move them."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from modularizer.assembly.calibrations.stored import FiniteFloat, Stored, require_spread

SHARE = 0.05


class QuantileCalibration(Stored):
    """(score - low) / (high - low), with quantiles of the class's training scores as ends.

    Attributes:
        low: the ``share`` quantile.
        high: the 1 - ``share`` quantile.
        share: of the scores, beyond each end.
    """

    kind: Literal["quantile"] = "quantile"
    low: FiniteFloat
    high: FiniteFloat
    share: Annotated[float, Field(ge=0, lt=0.5)] = SHARE

    @model_validator(mode="after")
    def _has_width(self) -> QuantileCalibration:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self

    def apply(self, scores: Tensor) -> Tensor:
        """Calibrate raw scores (N,), float; gives the same shape and dtype, not clipped."""
        return (scores - self.low) / (self.high - self.low)


def fit_quantile(scores: NDArray[np.float32], share: float = SHARE) -> QuantileCalibration:
    """Robust ends from a class module's raw scores of its own class.

    Args:
        scores: float, (N,): raw scores of training images of the module's class.
        share: of them, to lie beyond each end, in [0, 0.5).

    Raises:
        CalibrationError: if there is no score, one is not finite, or the ends coincide.
    """
    require_spread(scores, "quantile")
    low, high = np.quantile(scores.astype(np.float64), (share, 1 - share))
    require_spread(np.array([low, high]), "quantile")
    return QuantileCalibration(low=float(low), high=float(high), share=share)
