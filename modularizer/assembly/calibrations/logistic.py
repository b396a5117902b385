"""How likely the class is by the module's score, as the strong model's images say."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modularizer.assembly.calibrations.regression import log_odds
from modularizer.assembly.calibrations.stored import FiniteFloat, Stored, require_spread


class LogisticCalibration(Stored):
    """1 / (1 + exp(-(scale * score + shift))), after Platt, 1999.

    Fitted on images of the strong model, of the class and of its others. It has never seen the
    weak model's other classes, and its probability is by the strong data's shares.
    """

    kind: Literal["logistic"] = "logistic"
    scale: FiniteFloat
    shift: FiniteFloat

    def apply(self, scores: Tensor) -> Tensor:
        """Calibrate raw scores (N,), float; gives the same shape and dtype, in [0, 1]."""
        return torch.sigmoid(self.scale * scores + self.shift)


def fit_logistic(scores: NDArray[np.float32], is_class: NDArray[np.bool_]) -> LogisticCalibration:
    """A logistic regression of the class on the module's score.

    Args:
        scores: float, (N,): raw scores of images of all the strong model's classes.
        is_class: (N,), which of them are of the module's class.

    Raises:
        CalibrationError: if a score is not finite, all are equal, or one side is missing.
    """
    require_spread(scores, "logistic")
    shift, scale = log_odds(scores[:, None], is_class)
    return LogisticCalibration(scale=scale, shift=shift)
