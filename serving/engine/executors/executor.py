"""What runs the networks of a patched model, each on its own input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

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

    def get_ready(self, branches: Sequence[RunnableBranch], inputs: Sequence[Tensor]) -> None:
        """Do what a model's branches need once, before they run; another thread may `run`.

        Args:
            branches: their networks on ``device``.
            inputs: for each an example, float32 (1, channels, height, width), on ``device``.
        """
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
