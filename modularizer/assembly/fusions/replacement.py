"""The paper's way: the patch's score takes the place of the weak model's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from modularizer.assembly.calibration import Calibration
from modularizer.assembly.calibrations.fitted import FittedCalibration
from modularizer.assembly.fusions.weak_side import WeakSide


class Replacement(WeakSide):
    """The weak softmax, with each patched class's entry replaced by the calibrated score.

    With the default settings, and scores calibrated by min-max, that is the paper's (section 4):
    the scores don't sum to 1. A fitted calibration gives log-odds; these stand beside the log of
    the softmax, and a softmax over both makes probabilities of them.
    """

    kind: Literal["replace"] = "replace"

    def combine(
        self,
        weak_logits: Tensor,
        columns: Sequence[int],
        calibrations: Sequence[Calibration],
        raw: Sequence[Tensor],
    ) -> Tensor:
        """Patched scores.

        Args:
            weak_logits: (N, classes).
            columns: the patched classes.
            calibrations: of each; all give log-odds, or none does.
            raw: what each class module gives, (N,).

        Returns:
            (N, classes), dtype of the logits.
        """
        weak_side = self.logits(weak_logits, columns)
        if is_in_log_odds(calibrations):
            combined = torch.log_softmax(weak_side, dim=1)
        else:
            combined = torch.softmax(weak_side, dim=1)
        for column, calibration, scores in zip(columns, calibrations, raw, strict=True):
            combined[:, column] = calibration.apply(scores)
        return torch.softmax(combined, dim=1) if is_in_log_odds(calibrations) else combined


def is_in_log_odds(calibrations: Sequence[Calibration]) -> bool:
    """Whether scores are log-odds after calibration; not where there is none."""
    return bool(calibrations) and all(isinstance(one, FittedCalibration) for one in calibrations)
