"""Handing masks of the gradient search to the genetic one, to be polished."""

from __future__ import annotations

import torch
from torch import Tensor

from modularizer.analysis.grouping import Grouping
from modularizer.analysis.plan import SlicingPlan
from modularizer.search.genetic import mutate


def grouping_around(
    masks: Tensor,
    logits: Tensor,
    plan: SlicingPlan,
    *,
    few: int = 10,
    many: int = 100,
    wide: int = 256,
) -> Grouping:
    """Groups of neighbours in logits, none of which the masks cut in two.

    A segment has as many groups as `group_channels` gives it (at least two, where it has two
    channels), so that bits mean the same to every operator. How many channels a group has may
    differ between classes.

    Args:
        masks: bool (classes, channels); each segment keeps a channel.
        logits: float (classes, channels): how much each class wants each channel.
        plan: the slicing plan.
        few: groups of a segment with fewer than ``wide`` channels.
        many: groups of a segment with at least ``wide`` channels.
        wide: where few becomes many.
    """
    group_of_channel = torch.empty(masks.shape, dtype=torch.int64)
    masks, logits = masks.cpu(), logits.cpu()
    segments = []
    start = 0
    for segment in plan.segments:
        size = len(segment)
        groups = min(size, max(2, few if size < wide else many))
        by_logit = logits[:, segment.channels].argsort(dim=1, stable=True)
        for row, order in enumerate(by_logit):
            kept = masks[row, segment.channels][order]
            order = torch.cat([order[~kept], order[kept]])
            cut = _cut(size, int((~kept).sum()), groups)
            group_of_channel[row, segment.start + order] = start + cut
        segments.append(slice(start, start + groups))
        start += groups
    return Grouping(group_of_channel, tuple(segments))


def _cut(size: int, dropped: int, groups: int) -> Tensor:
    """The group of each rank, with an edge after ``dropped``: int64 (size,)."""
    if dropped == 0:
        return torch.arange(size) * groups // size
    below = round(groups * dropped / size)
    below = min(max(below, 1, groups - (size - dropped)), groups - 1, dropped)
    kept = size - dropped
    return torch.cat(
        [
            torch.arange(dropped) * below // dropped,
            below + torch.arange(kept) * (groups - below) // kept,
        ]
    )


def bits_of(masks: Tensor, grouping: Grouping) -> Tensor:
    """The bits that stand for masks: bool (classes, groups).

    Args:
        masks: bool (classes, channels), none of which cuts a group in two.
        grouping: the groups.
    """
    bits = torch.zeros(len(masks), grouping.groups, dtype=torch.bool)
    return bits.scatter_(1, grouping.group_of_channel, masks.cpu())


def population_around(
    bits: Tensor, *, candidates: int, mutation_rate: float, generator: torch.Generator
) -> Tensor:
    """First candidates for the genetic search: the given one, and variants of it.

    Args:
        bits: bool (classes, groups).
        candidates: candidates a class.
        mutation_rate: the chance that a bit of a variant is flipped, in [0, 1].
        generator: every random choice.

    Returns:
        bool (classes, candidates, groups); candidate 0 is the given one.
    """
    around = mutate(bits[:, None].repeat(1, candidates, 1), mutation_rate, generator)
    around[:, 0] = bits
    return around
