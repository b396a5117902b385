"""No calibration, to compare with."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from modularizer.assembly.calibrations.stored import Stored


class NoCalibration(Stored):
    """The raw score as it is: the replacement that the paper argues against, for comparison."""

    kind: Literal["none"] = "none"

    def apply(self, scores: Tensor) -> Tensor:
        """Give the raw scores (N,) back."""
        return scores
