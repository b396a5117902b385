"""Every network on a CUDA stream of its own."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import torch
from torch import Tensor

from serving.engine.executors.executor import BranchTimer, RunnableBranch, ignore_time


class StreamExecutor:
    """Every branch on a CUDA stream of its own, so that small networks share the device."""

    def __init__(self, device: torch.device | str = "cuda") -> None:
        self.device = torch.device(device)
        self._streams = SpareStreams(self.device)

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
        return run_on_streams(branches, inputs, self._streams.first(len(branches)), timed=timed)


class SpareStreams:
    """Streams of a device, made when they are needed and kept.

    torch has 32 streams a device and hands out the first again after the last; so many that two
    who ask for one might get the same are never made.

    Args:
        device: a CUDA device.
    """

    MOST = 8

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._streams: list[torch.cuda.Stream] = []

    def first(self, count: int) -> list[torch.cuda.Stream]:
        """For so many branches a stream each, always the same; the ninth shares the first one's."""
        while len(self._streams) < min(count, self.MOST):
            self._streams.append(torch.cuda.Stream(self._device))
        return [self._streams[place % self.MOST] for place in range(count)]


class LentStreams:
    """Streams of a device that one branch has at a time, and another after it.

    A stream is not free of cost: cuBLAS keeps a workspace, of up to 32 MiB, for each that it was
    used on, as long as the process lives.

    Args:
        device: a CUDA device.
        most: there are never more; with those of `SpareStreams` fewer than torch's 32.
    """

    def __init__(self, device: torch.device, *, most: int = 20) -> None:
        self._device = device
        self._left = most
        self._free: list[torch.cuda.Stream] = []
        self._lock = Lock()

    def take(self) -> torch.cuda.Stream | None:
        """One that nobody has, the one last given back if there is one; None if all are lent."""
        with self._lock:
            if self._free:
                return self._free.pop()
            if self._left == 0:
                return None
            self._left -= 1
        return torch.cuda.Stream(self._device)

    def give_back(self, stream: torch.cuda.Stream) -> None:
        """Let others have it."""
        with self._lock:
            self._free.append(stream)


def run_on_streams(
    branches: Sequence[RunnableBranch],
    inputs: Sequence[Tensor],
    streams: Sequence[torch.cuda.Stream],
    *,
    timed: BranchTimer = ignore_time,
) -> list[Tensor]:
    """What each branch gives for its input, each on its stream.

    The caller's stream waits for all of them: what is returned can be used at once.

    Args:
        branches: their networks on the streams' device.
        inputs: as many, on the device.
        streams: as many; branches of one stream run in turn.
        timed: told of each branch's seconds on the device, which overlap.
    """
    if not branches:
        return []
    caller = torch.cuda.current_stream(streams[0].device)
    is_timed = timed is not ignore_time
    outputs, events = [], []
    for branch, x, stream in zip(branches, inputs, streams, strict=True):
        stream.wait_stream(caller)
        with torch.cuda.stream(stream):
            began = stream.record_event(torch.cuda.Event(enable_timing=True)) if is_timed else None
            outputs.append(branch.run(x))
            ended = stream.record_event(torch.cuda.Event(enable_timing=True)) if is_timed else None
        events.append((began, ended))
        # The allocator must not hand this memory out again while the other stream reads it.
        x.record_stream(stream)
    for output, stream in zip(outputs, streams, strict=True):
        caller.wait_stream(stream)
        output.record_stream(caller)
    for place, (began, ended) in enumerate(events):
        if began is not None and ended is not None:
            ended.synchronize()
            timed(place, began.elapsed_time(ended) / 1000)
    return outputs
