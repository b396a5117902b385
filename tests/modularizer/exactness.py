"""The comparison that decides: a decoded network, and the whole one without the same kernels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modularizer.analysis.plan import SlicingPlan
from modularizer.assembly.decode import decode
from modularizer.assembly.masking import masked
from tests.modularizer.oracle import Kernel, reached_by_all, without

TOLERANCE = 1e-10


def channel_of(plan: SlicingPlan) -> dict[Kernel, int]:
    """The plan's number of each removable kernel."""
    return {
        (layer, kernel): int(entry)
        for segment in plan.segments
        for layer in segment.layers
        for kernel, entry in enumerate(plan.entries[f"{layer}.weight"][0])
        if int(entry) < plan.channels
    }


def random_mask(plan: SlicingPlan, share: float, seed: int) -> Tensor:
    """A mask that keeps about a share of the channels, and at least one where one has to stay."""
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(plan.channels, generator=generator) < share
    for own in plan.layer_channels.values():
        if not kept[own].any():
            kept[own[int(torch.randint(len(own), (), generator=generator))]] = True
    return kept


def assert_decoded_equals_masked(
    network: nn.Module,
    plan: SlicingPlan,
    kept: Tensor,
    images: Tensor,
    *,
    every_output: bool = True,
) -> None:
    """Compare in float64: decoded, masked by the plan, and without what the oracle says."""
    removed = [kernel for kernel, channel in channel_of(plan).items() if not kept[channel]]
    inputs = reached_by_all(network, removed, images[:1])
    with torch.no_grad():
        with without(network, inputs):
            expected = network(images)
        assert torch.isfinite(expected).all()
        allowed = TOLERANCE * max(1.0, float(expected.abs().max()))
        decoded = decode(network, plan, kept)
        assert float((decoded(images) - expected).abs().max()) <= allowed
        for output in range(plan.outputs) if every_output else (plan.outputs - 1,):
            one = decode(network, plan, kept, output=output)(images)
            assert one.shape == (len(images), 1)
            assert float((one[:, 0] - expected[:, output]).abs().max()) <= allowed
        with masked(network, plan, kept):
            assert float((network(images) - expected).abs().max()) <= allowed
