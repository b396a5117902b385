"""One network after the other."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import torch
from torch import Tensor

from serving.engine.executors.executor import BranchTimer, RunnableBranch, ignore_time


class SequentialExecutor:
    """One branch after the other, in the thread that asks."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    def get_ready(self, branches: Sequence[RunnableBranch], inputs: Sequence[Tensor]) -> None:
        """Nothing to do."""

    def run(
        self,
        branches: Sequence[RunnableBranch],
        inputs: Sequence[Tensor],
        *,
        timed: BranchTimer = ignore_time,
    ) -> list[Tensor]:
        """What each branch gives for its input, in branch order."""
        outputs = []
        for place, (branch, x) in enumerate(zip(branches, inputs, strict=True)):
            began = perf_counter()
            outputs.append(branch.run(x))
            timed(place, perf_counter() - began)
        return outputs
