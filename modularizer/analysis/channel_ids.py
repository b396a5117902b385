"""Integer ids that travel with a network's activations and say which channel each value is of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from modularizer.errors import PlanError

PINNED = 0
"""The id of what is never removed: the input."""


@dataclass(frozen=True)
class Traced:
    """An activation while the plan is made.

    Attributes:
        value: the activation, on ``meta``: a shape without numbers; its first dimension is 1.
        ids: int64, same shape, on the CPU: the channel id of each element.
    """

    value: Tensor
    ids: Tensor


class ChannelIds:
    """A disjoint-set forest over channel ids: fresh ones, and unions of those that go together."""

    def __init__(self) -> None:
        self._parent = [PINNED]

    def fresh(self, count: int) -> Tensor:
        """``count`` new ids, int64 (count,)."""
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return torch.arange(start, start + count)

    def root(self, channel_id: int) -> int:
        """The id that stands for all those united with ``channel_id``; the smallest of them."""
        while self._parent[channel_id] != channel_id:
            self._parent[channel_id] = self._parent[self._parent[channel_id]]
            channel_id = self._parent[channel_id]
        return channel_id

    def unite(self, first: Tensor, second: Tensor) -> None:
        """Unite ids element by element; shapes as in broadcasting."""
        a, b = torch.broadcast_tensors(first, second)
        pairs = torch.stack([a.flatten(), b.flatten()], dim=1).unique(dim=0)
        for one, other in pairs.tolist():
            low, high = sorted((self.root(one), self.root(other)))
            self._parent[high] = low

    def roots(self, ids: Tensor) -> Tensor:
        """The root of each id, same shape."""
        flat = [self.root(i) for i in ids.flatten().tolist()]
        return torch.tensor(flat, dtype=torch.int64).view(ids.shape)


def along(ids: Tensor, dim: int, where: str) -> Tensor:
    """The ids along one dimension, (size,), where all other dimensions agree.

    Raises:
        PlanError: if positions along ``dim`` mix several channels.
    """
    rows = ids.movedim(dim, 0).flatten(1)
    if rows.shape[1] == 0 or not bool((rows == rows[:, :1]).all()):
        raise PlanError(
            f"{where}: its input mixes channels along another dimension than {dim}; "
            "the layer can't be sliced"
        )
    return rows[:, 0]
