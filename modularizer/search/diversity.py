"""Diff: how different the modules of a composed model are (section 3.3.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def jaccard_distances(first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
    """The Jaccard distance between every kernel set of one batch and every one of another.

    One matrix product: what two sets share is a product of their masks.

    Args:
        first: bool (masks, channels).
        second: bool (others, channels).
        weights: int64 (channels,): kernels that each channel stands for.

    Returns:
        float32 (masks, others), in [0, 1]; 0 between two empty sets.
    """
    kernels = weights.to(torch.float32)  # sums of kernels stay below 2**24: exact in float32
    a, b = first.to(torch.float32), second.to(torch.float32)
    shared = (a * kernels) @ b.T
    union = (a @ kernels)[:, None] + (b @ kernels)[None, :] - shared
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
    return float(jaccard_distances(masks, masks, weights)[rows, columns].mean())
