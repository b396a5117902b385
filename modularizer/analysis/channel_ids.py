"""Integer ids that travel with a network's activations and say which channel each value is of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from modularizer.errors import PlanError

PINNED = 0
"""The id of what is never removed: the input."""


@dataclass(frozen=True, eq=False)
class Origin:
    """Which element of an earlier activation each element of this one is.

    Attributes:
        node: the graph's node that gave the earlier activation, (1, C, ...).
        shape: of the earlier activation.
        channel: int64, this activation's shape: position along the earlier one's dimension 1.
        place: int64, same shape: position among the earlier one's other dimensions.
    """

    node: str
    shape: torch.Size
    channel: Tensor
    place: Tensor

    @classmethod
    def of(cls, node: str, shape: torch.Size) -> Origin:
        """An activation (1, C, ...) as its own origin."""
        channel = torch.arange(shape[1]).view(1, -1, *[1] * (len(shape) - 2))
        place = torch.arange(shape[2:].numel()).view(1, 1, *shape[2:])
        return cls(node, shape, channel.expand(shape), place.expand(shape))

    def moved(self, move: Callable[[Tensor], Tensor]) -> Origin:
        """The origin of what ``move`` makes of the activation."""
        return Origin(self.node, self.shape, move(self.channel), move(self.place))

    def selected_channels(self) -> Tensor | None:
        """Positions along the origin's dimension 1, if this is a selection of them and no more."""
        if self.channel.ndim != len(self.shape) or self.channel.shape[2:] != self.shape[2:]:
            return None
        channel = self.channel.flatten(2) if self.channel.ndim > 2 else self.channel[..., None]
        same_place = torch.equal(self.place, Origin.of("", self.channel.shape).place)
        return (
            channel[0, :, 0] if same_place and bool((channel == channel[..., :1]).all()) else None
        )


@dataclass(frozen=True, eq=False)
class Traced:
    """An activation, or a bare parameter, while the plan is made.

    Attributes:
        value: the activation, on ``meta``: a shape without numbers; its first dimension is 1.
        ids: int64, same shape, on the CPU: the channel id of each element. Where ids don't
            change along a dimension they are expanded along it, so that they take no memory.
        origin: where values were only moved, out of what.
        name: of the parameter or buffer, if it is one.
    """

    value: Tensor
    ids: Tensor
    origin: Origin | None = None
    name: str = ""


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
        a, b = torch.broadcast_tensors(compact(first), compact(second))
        if torch.equal(a, b):
            return
        known = len(self._parent)
        for pair in (a * known + b).unique().tolist():
            low, high = sorted((self.root(pair // known), self.root(pair % known)))
            self._parent[high] = low

    def all_roots(self) -> Tensor:
        """The root of each id there is, int64 (ids,)."""
        parent = torch.tensor(self._parent)
        while not torch.equal(parent, above := parent[parent]):
            parent = above
        return parent


def compact(ids: Tensor) -> Tensor:
    """The ids with one position left of each dimension along which they are expanded."""
    for dim, (size, stride) in enumerate(zip(ids.shape, ids.stride(), strict=True)):
        if size > 1 and stride == 0:
            ids = ids.narrow(dim, 0, 1)
    return ids


def tidied(ids: Tensor) -> Tensor:
    """The same ids, expanded along every dimension along which they don't change."""
    small = compact(ids)
    for dim in range(small.ndim):
        first = small.narrow(dim, 0, 1) if small.shape[dim] else small
        if small.shape[dim] > 1 and bool((small == first).all()):
            small = first
    return small.expand(ids.shape)


def along(ids: Tensor, dim: int, where: str) -> Tensor:
    """The ids along one dimension, (size,), where all other dimensions agree.

    Raises:
        PlanError: if positions along ``dim`` mix several channels, or there is no batch dimension.
    """
    if ids.ndim < 2:
        raise PlanError(
            f"{where}: its input has lost its batch dimension, as squeeze() does with a single "
            "image; name the dimensions to squeeze"
        )
    small = compact(ids).movedim(dim, 0).flatten(1)
    if small.shape[1] == 0 or not bool((small == small[:, :1]).all()):
        raise PlanError(
            f"{where}: its input mixes channels along another dimension than {dim}; "
            "the layer can't be sliced"
        )
    return small[:, 0].expand(ids.shape[dim])
