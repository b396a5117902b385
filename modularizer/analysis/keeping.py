"""Masks that empty no layer."""

from __future__ import annotations

from torch import Tensor

from modularizer.analysis.plan import SlicingPlan


def keeping_each_layer(kept: Tensor, preference: Tensor, plan: SlicingPlan) -> Tensor:
    """The same masks, with the most preferred channel put back where a layer has none left.

    A layer is what a mask may not empty: kernels of a convolution, or inputs of any layer, which
    are a part of a segment's channels where concatenations meet additions or channels are split.

    Args:
        kept: bool (..., channels).
        preference: float (..., channels), shapes as in broadcasting: a channel's importance. Of
            equal ones the first is put back.
        plan: the slicing plan.

    Returns:
        bool (..., channels), a new tensor; `SlicingPlan.alive` accepts each of its masks.
    """
    repaired = kept.clone()
    preference = preference.expand(kept.shape)
    for channels in plan.layer_channels.values():
        index = channels.to(kept.device)
        best = index[preference[..., index].argmax(dim=-1, keepdim=True)]
        emptied = ~repaired[..., index].any(dim=-1, keepdim=True)
        repaired.scatter_(-1, best, repaired.gather(-1, best) | emptied)
    return repaired
