"""Neighbours in importance, decided on together: one bit a group (section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from modularizer.analysis.keeping import keeping_each_layer
from modularizer.analysis.plan import SlicingPlan

Order = Literal["importance", "random", "none"]


@dataclass(frozen=True, eq=False)
class Grouping:
    """How a class's bits stand for channels; groups differ between classes.

    A segment with C channels has the same groups in number and size for every class, so a
    segment owns the same stretch of bits in each. Within it, bit 0 is the least important group.

    Attributes:
        group_of_channel: int64 (classes, channels): which bit decides about a channel.
        segments: for each segment, the slice of its bits.
    """

    group_of_channel: Tensor
    segments: tuple[slice, ...]

    @property
    def groups(self) -> int:
        """The number of bits of a class."""
        return self.segments[-1].stop if self.segments else 0

    def masks(self, bits: Tensor) -> Tensor:
        """The channels that bits keep.

        Args:
            bits: bool (classes, candidates, groups).

        Returns:
            bool (classes, candidates, channels).
        """
        index = self.group_of_channel[:, None, :].expand(-1, bits.shape[1], -1)
        return bits.gather(2, index)

    def bits(self, masks: Tensor) -> Tensor:
        """The groups of which masks keep a channel; undoes `masks`.

        Args:
            masks: bool (classes, candidates, channels).

        Returns:
            bool (classes, candidates, groups).
        """
        index = self.group_of_channel[:, None, :].expand_as(masks)
        shape = (*masks.shape[:2], self.groups)
        counts = torch.zeros(shape, dtype=torch.int64).scatter_add(2, index, masks.long())
        return counts > 0

    def keeping_a_group(self, bits: Tensor) -> Tensor:
        """The same bits, with the most important group put back where a segment has none left.

        Args:
            bits: bool (..., groups).
        """
        repaired = bits.clone()
        for segment in self.segments:
            repaired[..., segment.stop - 1] |= ~repaired[..., segment].any(dim=-1)
        return repaired


def group_channels(
    importance: Tensor,
    plan: SlicingPlan,
    *,
    few: int = 10,
    many: int = 100,
    wide: int = 256,
    order: Order = "importance",
    generator: torch.Generator | None = None,
) -> Grouping:
    """Sort each segment's channels by importance and cut them into groups of neighbours.

    Args:
        importance: float (classes, channels).
        plan: the slicing plan that the channels are of.
        few: groups of a segment with fewer than ``wide`` channels (or one a channel).
        many: groups of a segment with at least ``wide`` channels.
        wide: where few becomes many.
        order: ``random`` sorts by chance instead, ``none`` gives each channel a group of its
            own: the baselines of table 7.
        generator: draws the random order.
    """
    if order == "random":
        importance = torch.rand(importance.shape, generator=generator)
    group_of_channel = torch.empty(importance.shape, dtype=torch.int64)
    segments = []
    start = 0
    for segment in plan.segments:
        size = len(segment)
        groups = size if order == "none" else min(size, few if size < wide else many)
        by_rank = torch.arange(size) * groups // size  # as even as whole channels allow
        ranks = importance[:, segment.channels].argsort(dim=1, stable=True).argsort(dim=1)
        group_of_channel[:, segment.channels] = start + by_rank[ranks]
        segments.append(slice(start, start + groups))
        start += groups
    return Grouping(group_of_channel, tuple(segments))


def least_important_dropped(
    importance: Tensor, plan: SlicingPlan, segment: int, drop_ratio: float
) -> Tensor:
    """Masks that drop a share of one segment's channels, the least important ones of each class.

    Args:
        importance: float (classes, channels).
        plan: the slicing plan.
        segment: index of the segment.
        drop_ratio: in [0, 1]; at least one channel of each layer stays.

    Returns:
        bool (classes, channels).
    """
    channels = plan.segments[segment].channels
    size = len(plan.segments[segment])
    ranks = importance[:, channels].argsort(dim=1, stable=True).argsort(dim=1)
    masks = torch.ones(importance.shape, dtype=torch.bool)
    masks[:, channels] = ranks >= min(round(size * drop_ratio), size - 1)
    return keeping_each_layer(masks, importance, plan)
