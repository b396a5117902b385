"""Masks drawn at random that keep exactly so many kernels."""

from __future__ import annotations

import torch

from modularizer.analysis.plan import SlicingPlan


def random_mask_of(plan: SlicingPlan, kernels: int, seed: int) -> torch.Tensor:
    """Which channels stay: drawn from all layers alike, at least one of each segment.

    So each layer keeps about the same share. Coupled channels count as often as they have kernels.

    Args:
        plan: of a network whose kernels can all be removed.
        kernels: that stay.
        seed: of the draw.

    Returns:
        bool (plan.channels,).

    Raises:
        ValueError: if no mask has so many.
    """
    generator = torch.Generator().manual_seed(seed)
    kept = torch.zeros(plan.channels, dtype=torch.bool)
    for segment in plan.segments:
        chosen = torch.randint(segment.start, segment.stop, (1,), generator=generator)
        kept[chosen] = True
    worth = plan.kernels_per_channel.tolist()
    left = kernels - sum(worth[channel] for channel in kept.nonzero().flatten().tolist())
    for channel in torch.randperm(plan.channels, generator=generator).tolist():
        if not kept[channel] and worth[channel] <= left:
            kept[channel] = True
            left -= worth[channel]
    if left:
        raise ValueError(f"no mask of this network keeps {kernels} of {plan.kernels} kernels")
    return kept
