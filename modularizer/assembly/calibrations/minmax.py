"""The paper's calibration: a class's own training scores are brought to 0 to 1."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator
from torch import Tensor

from modularizer.assembly.calibrations.stored import FiniteFloat, Stored, require_spread


class MinMaxCalibration(Stored):
    """(score - minimum) / (maximum - minimum): the paper's rule (section 4).

    ``minimum`` and ``maximum`` are those of the raw score over training images of the class.
    The result is neither clipped nor a probability.
    """

    kind: Literal["minmax"] = "minmax"
    minimum: FiniteFloat
    maximum: FiniteFloat

    @model_validator(mode="after")
    def _has_width(self) -> MinMaxCalibration:
        if not self.minimum < self.maximum:
            raise ValueError(f"minimum {self.minimum} must be below maximum {self.maximum}")
        return self

    def apply(self, scores: Tensor) -> Tensor:
        """Calibrate raw scores (N,), float; gives the same shape and dtype."""
        return (scores - self.minimum) / (self.maximum - self.minimum)


def fit_minmax(scores: NDArray[np.float32]) -> MinMaxCalibration:
    """The paper's calibration from a class module's raw scores of its own class.

    Args:
        scores: float, (N,): raw scores of training images of the module's class.

    Raises:
        CalibrationError: if there is no score, one is not finite, or all are equal.
    """
    require_spread(scores, "min-max")
    return MinMaxCalibration(minimum=float(scores.min()), maximum=float(scores.max()))
