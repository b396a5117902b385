"""Every network on a CUDA stream of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from serving.engine.executors.executor import BranchTimer, RunnableBranch, ignore_time


class StreamExecutor:
    """Every branch on a CUDA stream of its own, so that small networks share the device.

    The caller's stream waits for all of them: what is returned can be used at once.
    """

    def __init__(self, device: torch.device | str = "cuda") -> None:
        self.device = torch.device(device)
        self._streams: list[torch.cuda.Stream] = []

    def run(
        self,
        branches: Sequence[RunnableBranch],
        inputs: Sequence[Tensor],
        *,
        timed: BranchTimer = ignore_time,
    ) -> list[Tensor]:
        """What each branch gives for its input, in branch order; told times overlap."""
        caller = torch.cuda.current_stream(self.device)
        streams = self._streams_for(len(branches))
        outputs, events = [], []
        for branch, x, stream in zip(branches, inputs, streams, strict=True):
            stream.wait_stream(caller)
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            with torch.cuda.stream(stream):
                began.record()
                outputs.append(branch.run(x))
                ended.record()
            events.append((began, ended))
            # The allocator must not hand this memory out again while the other stream reads it.
            x.record_stream(stream)
        for output, stream in zip(outputs, streams, strict=True):
            caller.wait_stream(stream)
            output.record_stream(caller)
        if timed is not ignore_time:
            for place, (began, ended) in enumerate(events):
                ended.synchronize()
                timed(place, began.elapsed_time(ended) / 1000)
        return outputs

    def _streams_for(self, branches: int) -> list[torch.cuda.Stream]:
        while len(self._streams) < branches:
            self._streams.append(torch.cuda.Stream(self.device))
        return self._streams[:branches]
