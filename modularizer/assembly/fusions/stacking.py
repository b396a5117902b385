"""Beyond the paper: what the weak model believes of a patched class counts beside the patch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from modularizer.assembly.calibration import Calibration
from modularizer.assembly.calibrations.stored import FiniteFloat
from modularizer.assembly.fusions.weak_side import WeakSide, weak_log_odds


class Stacking(WeakSide):
    """Log-odds of a patched class: the calibrated ones plus a share of the weak model's own.

    No replacement any more: a weak model that knows something of the class keeps its say.

    Attributes:
        weak_weights: for each patch, in order, the weight of the weak model's own log-odds.
    """

    kind: Literal["stack"] = "stack"
    weak_weights: Annotated[tuple[FiniteFloat, ...], Field(min_length=1, max_length=10_000)]

    def for_patches(self, chosen: Sequence[int]) -> Self:
        """The same rule, with the weights of these patches alone; as in `WeakSide`."""
        weights = tuple(self.weak_weights[index] for index in chosen)
        return self.model_copy(update={"weak_weights": weights})

    def combine(
        self,
        weak_logits: Tensor,
        columns: Sequence[int],
        calibrations: Sequence[Calibration],
        raw: Sequence[Tensor],
    ) -> Tensor:
        """Patched scores, which sum to 1: float (N, classes); arguments as in `Replacement`."""
        combined = torch.log_softmax(self.logits(weak_logits, columns), dim=1)
        for column, calibration, scores, weight in zip(
            columns, calibrations, raw, self.weak_weights, strict=True
        ):
            own = weight * weak_log_odds(weak_logits, column)
            combined[:, column] = calibration.apply(scores) + own
        return torch.softmax(combined, dim=1)
