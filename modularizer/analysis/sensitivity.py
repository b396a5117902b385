"""Which layers can lose kernels without harm (section 3.2.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modularizer.analysis.grouping import least_important_dropped
from modularizer.analysis.plan import SlicingPlan
from modularizer.progress import Progress, ProgressCallback, ignore_progress

DROP_RATIOS = tuple(step / 10 for step in range(1, 10))


@dataclass(frozen=True)
class Sensitivity:
    """What each segment's loss of kernels costs the composed model.

    Attributes:
        drop_ratios: shares of a segment's channels that were dropped, each in (0, 1).
        accuracy: float64 (segments, drop ratios): the composed model's, in [0, 1].
        unharmed: its accuracy with nothing dropped.
        tolerated_loss: an insensitive segment loses at most this at the highest ratio.
    """

    drop_ratios: tuple[float, ...]
    accuracy: Tensor
    unharmed: float
    tolerated_loss: float

    @property
    def sensitive(self) -> Tensor:
        """Bool (segments,): which segments need their kernels."""
        loss: Tensor = self.unharmed - self.accuracy[:, -1]
        return loss > self.tolerated_loss


def measure_sensitivity(
    plan: SlicingPlan,
    importance: Tensor,
    composed_accuracy: Callable[[Tensor], float],
    *,
    unharmed: float,
    tolerated_loss: float = 0.05,
    drop_ratios: Sequence[float] = DROP_RATIOS,
    known: Tensor | None = None,
    on_segment: Callable[[Tensor], None] = lambda _: None,
    progress: ProgressCallback = ignore_progress,
) -> Sensitivity:
    """Drop each segment's least important channels, for every class at once, and look.

    Args:
        plan: the slicing plan.
        importance: float (classes, plan.channels).
        composed_accuracy: accuracy of the model composed of masks, bool (classes, channels), on
            validation images.
        unharmed: that of the model that keeps everything.
        tolerated_loss: what an insensitive segment may lose at the highest ratio; 0.05 in the
            paper.
        drop_ratios: in rising order; 10 % to 90 % in the paper.
        known: float64 (first segments, drop ratios): what an interrupted measurement had found.
        on_segment: given all that is known after each segment, to keep it.
        progress: told after each segment.
    """
    rows: list[list[float]] = [] if known is None else known.tolist()
    for index in range(len(rows), len(plan.segments)):
        rows.append(
            [
                composed_accuracy(least_important_dropped(importance, plan, index, ratio))
                for ratio in drop_ratios
            ]
        )
        on_segment(torch.tensor(rows, dtype=torch.float64))
        progress(Progress("sensitivity", index + 1, len(plan.segments)))
    return Sensitivity(
        tuple(drop_ratios), torch.tensor(rows, dtype=torch.float64), unharmed, tolerated_loss
    )
