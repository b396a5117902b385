"""The class's odds by the module's score, as the weak model's own images say."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from modularizer.assembly.calibrations.stored import FiniteFloat, Stored


class FittedCalibration(Stored):
    """scale * score + shift: the log of the odds of the class against all others.

    Fitted on labelled validation images of the weak model, which the paper does not use, so that
    it knows the classes that it has to be told from, and how often each comes.
    """

    kind: Literal["fitted"] = "fitted"
    scale: FiniteFloat
    shift: FiniteFloat

    def apply(self, scores: Tensor) -> Tensor:
        """Log-odds of raw scores (N,), float; same shape and dtype."""
        return self.scale * scores + self.shift
