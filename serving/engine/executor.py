"""How the networks of a patched model run: in turn on a CPU, side by side on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol

import torch
from torch import Tensor

from serving.errors import SettingsError

BranchTimer = Callable[[int, float], None]
"""Told of a network that ran: its place among the branches, and seconds."""


def ignore_time(place: int, seconds: float) -> None:
    """Tell nobody."""


class RunnableBranch(Protocol):
    """One network of a patched model: the weak one or a class module."""

    def run(self, prepared: Tensor) -> Tensor:
        """Raw scores of prepared images (N, channels, height, width)."""
        ...


class Executor(Protocol):
    """Runs each branch on its own input."""

    @property
    def device(self) -> torch.device:
        """Where the branches and their inputs have to be."""
        ...

    def run(
        self,
        branches: Sequence[RunnableBranch],
        inputs: Sequence[Tensor],
        *,
        timed: BranchTimer = ignore_time,
    ) -> list[Tensor]:
        """What each branch gives for its input, in branch order.

        Args:
            branches: their networks on ``device``.
            inputs: as many, float32 (N, channels, height, width), on ``device``; N may differ.
            timed: told how long each of them took.
        """
        ...


class SequentialExecutor:
    """One branch after the other: two networks at once on a CPU only fight for its cores."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

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


def choose_executor(device: str) -> Executor:
    """The executor for ``device``.

    Args:
        device: ``cpu``, ``cuda``, or ``auto`` (CUDA where there is a device).

    Raises:
        SettingsError: if CUDA is asked for and there is none.
    """
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise SettingsError(
            "PATCHBAY_DEVICE=cuda, but torch finds no CUDA device here; use cpu or auto"
        )
    return StreamExecutor() if device != "cpu" and has_cuda else SequentialExecutor()
