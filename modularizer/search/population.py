"""The first candidates (section 3.2.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from modularizer.analysis.grouping import Grouping


def first_population(
    grouping: Grouping,
    sensitive: Tensor,
    *,
    classes: int,
    candidates: int,
    generator: torch.Generator,
    by_importance: bool = False,
    sensitive_drop: tuple[float, float] = (0.1, 0.5),
    insensitive_drop: tuple[float, float] = (0.5, 0.9),
) -> Tensor:
    """Drop a random share of each segment's groups, a larger one where that does no harm.

    Args:
        grouping: the bits.
        sensitive: bool (segments,).
        classes: number of classes.
        candidates: candidates a class.
        generator: every random choice.
        by_importance: draw the groups that stay with a chance that rises with their rank, as
            the paper's published code does; else all alike.
        sensitive_drop: range of the share of bits that are 0 in a sensitive segment.
        insensitive_drop: the same in an insensitive one.

    Returns:
        bool (classes, candidates, groups); each segment keeps at least one group.
    """
    shape = (classes, candidates)
    bits = torch.ones(*shape, grouping.groups, dtype=torch.bool)
    for segment, is_sensitive in zip(grouping.segments, sensitive.tolist(), strict=True):
        low, high = sensitive_drop if is_sensitive else insensitive_drop
        size = segment.stop - segment.start
        ratio = low + (high - low) * torch.rand(shape, generator=generator)
        dropped = (ratio * size).round().clamp(max=size - 1)
        keys = torch.rand(*shape, size, generator=generator)
        if by_importance:  # the largest of u ** (1 / weight) are a draw by weight (Efraimidis)
            keys = keys ** (1 / torch.arange(1, size + 1))
        order = keys.argsort(dim=2).argsort(dim=2)
        bits[..., segment] = order >= dropped[..., None]
    return bits


def random_population(
    grouping: Grouping, *, classes: int, candidates: int, generator: torch.Generator
) -> Tensor:
    """Each bit a fair coin, the paper's baseline: bool (classes, candidates, groups).

    A segment that loses all its groups gets its most important one back.
    """
    coins = torch.rand(classes, candidates, grouping.groups, generator=generator) < 0.5
    return grouping.keeping_a_group(coins)


def random_masks_like(masks: Tensor, segments: list[slice], generator: torch.Generator) -> Tensor:
    """Masks that keep as many channels of each segment as the given ones, chosen at random.

    Args:
        masks: bool (classes, channels).
        segments: each segment's channels.
        generator: every random choice.
    """
    shuffled = masks.clone()
    for segment in segments:
        part = masks[:, segment]
        order = torch.rand(part.shape, generator=generator).argsort(dim=1)
        shuffled[:, segment] = part.gather(1, order)
    return shuffled
