"""From a class module's raw score to one that a weak model's softmax can be compared with."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from modularizer.errors import CalibrationError

FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]


class MinMaxCalibration(BaseModel):
    """(score - minimum) / (maximum - minimum): the paper's rule (section 4).

    ``minimum`` and ``maximum`` are those of the raw score over training images of the class.
    The result is neither clipped nor a probability.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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


class NoCalibration(BaseModel):
    """The raw score as it is: the replacement that the paper argues against, for comparison."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["none"] = "none"

    def apply(self, scores: Tensor) -> Tensor:
        """Give the raw scores (N,) back."""
        return scores


Calibration = Annotated[MinMaxCalibration | NoCalibration, Field(discriminator="kind")]


def fit_minmax(scores: NDArray[np.float32]) -> MinMaxCalibration:
    """The paper's calibration from a class module's raw scores of its own class.

    Args:
        scores: float, (N,): raw scores of training images of the module's class.

    Raises:
        CalibrationError: if there is no score, one is not finite, or all are equal.
    """
    if not len(scores):
        raise CalibrationError("min-max calibration needs at least two scores, found none")
    if not np.isfinite(scores).all():
        raise CalibrationError(
            f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite; "
            "the class module or its images are broken"
        )
    minimum, maximum = float(scores.min()), float(scores.max())
    if minimum == maximum:
        raise CalibrationError(
            f"all {len(scores)} scores are {minimum}; min-max calibration needs a range. "
            "The module may have lost every path to its output"
        )
    return MinMaxCalibration(minimum=minimum, maximum=maximum)
