"""Diff: how different the modules of a composed model are (section 3.3.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def jaccard_distances(masks: Tensor, weights: Tensor) -> Tensor:
    """The Jaccard distance between the kernel sets of every two masks, by one matrix product.

    Args:
        masks: bool (masks, channels).
        weights: int64 (channels,): kernels that each channel stands for.

    Returns:
        float32 (masks, masks), in [0, 1]; 0 between two empty sets.
    """
    members = masks.to(torch.float32)  # sums of kernels stay below 2**24: exact in float32
    shared = members @ (members * weights.to(torch.float32)).T
    sizes = shared.diagonal()
    union = sizes[:, None] + sizes[None, :] - shared
    return 1 - torch.where(union > 0, shared / union.clamp_min(1), 1.0)


def diff(masks: Tensor, weights: Tensor) -> float:
    """The mean Jaccard distance over all pairs of modules.

    The paper's equation 4 as printed multiplies by N(N-1)/2 where a mean divides; this is the
    mean.

    Args:
        masks: bool (classes, channels).
        weights: int64 (channels,): kernels that each channel stands for.

    Returns:
        In [0, 1]; 0 for a single class.
    """
    if len(masks) < 2:
        return 0.0
    rows, columns = torch.triu_indices(len(masks), len(masks), offset=1)
    return float(jaccard_distances(masks, weights)[rows, columns].mean())
