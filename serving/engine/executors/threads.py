"""The weak model in one thread, the class modules in another."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import local

import torch
from torch import Tensor

from serving.engine.executors.executor import BranchTimer, RunnableBranch, ignore_time
from serving.engine.executors.in_turn import SequentialExecutor


class ThreadExecutor:
    """The first branch in the thread that asks, the others in turn in a second one.

    Worth it where a second core is idle: torch lets other threads run while it computes. Each
    thread that asks has a second one of its own, which ends with it: requests don't wait for a
    model that is timed while it is loaded.
    """

    device = torch.device("cpu")

    def __init__(self) -> None:
        self._in_turn = SequentialExecutor()
        self._own = local()

    def get_ready(self, branches: Sequence[RunnableBranch], inputs: Sequence[Tensor]) -> None:
        """Nothing to do."""

    def run(
        self,
        branches: Sequence[RunnableBranch],
        inputs: Sequence[Tensor],
        *,
        timed: BranchTimer = ignore_time,
    ) -> list[Tensor]:
        """What each branch gives for its input, in branch order; told times overlap."""
        if len(branches) != len(inputs):
            raise ValueError(f"expected {len(branches)} inputs, found {len(inputs)}")
        if len(branches) < 2:
            return self._in_turn.run(branches, inputs, timed=timed)

        def timed_later(place: int, seconds: float) -> None:
            timed(1 + place, seconds)

        def run_others() -> list[Tensor]:
            with torch.inference_mode():  # a mode of the thread
                return self._in_turn.run(branches[1:], inputs[1:], timed=timed_later)

        others = self._second().submit(run_others)
        try:
            first = self._in_turn.run(branches[:1], inputs[:1], timed=timed)
        finally:
            found = others.result()  # nothing goes on running after an error
        return [*first, *found]

    def _second(self) -> ThreadPoolExecutor:
        if not hasattr(self._own, "second"):
            self._own.second = ThreadPoolExecutor(1, "patchbay-patches")
        second: ThreadPoolExecutor = self._own.second
        return second
