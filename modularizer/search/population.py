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
        order = torch.rand(*shape, size, generator=generator).argsort(dim=2).argsort(dim=2)
        bits[..., segment] = order >= dropped[..., None]
    return bits


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
