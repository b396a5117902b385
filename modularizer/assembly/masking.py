"""The whole network with channels masked: what a decoded network must equal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from modularizer.analysis.plan import SlicingPlan
from modularizer.classifier import inference
from modularizer.errors import DecodeError


@contextmanager
def masked(network: nn.Module, plan: SlicingPlan, kept: Tensor) -> Iterator[None]:
    """Within this context removed channels are zero at the input of every layer that takes them.

    That, and not a zero at a convolution's output, is what slicing equals: batch norms and
    activations in between may turn a zero into something else.

    Args:
        network: the whole network; its hooks are removed again on the way out.
        plan: its slicing plan.
        kept: bool (plan.channels,).
    """
    plan.alive(kept, output=None)
    with gated(network, plan, kept[None].float()):
        yield


@contextmanager
def gated(network: nn.Module, plan: SlicingPlan, gates: Tensor) -> Iterator[None]:
    """Within this context channels are multiplied by gates at the input of every consumer.

    With gates of 0 and 1 this is `masked`; gates in between, and gradients through them, are
    what a search by gradients needs. Several rows of gates run side by side: of a batch of
    ``rows * n`` images the first ``n`` pass through the first row's gates, and so on.

    Args:
        network: the whole network; its hooks are removed again on the way out.
        plan: its slicing plan.
        gates: float (rows, plan.channels); gradients flow into them.
    """
    always = gates.new_ones(len(gates), 1 + plan.outputs)
    factors = torch.cat([gates, always], dim=1)
    handles = []
    for name, entries in plan.consumers.items():
        layer = network.get_submodule(name)
        dim = 1 if isinstance(layer, nn.Conv2d) else -1
        factor = factors[:, entries.to(factors.device)]

        def scale(
            _: nn.Module,
            args: tuple[Tensor, ...],
            factor: Tensor = factor,
            dim: int = dim,
        ) -> tuple[Tensor, ...]:
            x = args[0]
            shape = [1] * (x.ndim + 1)
            shape[0], shape[1 + dim if dim > 0 else dim] = factor.shape
            by_row = x.unflatten(0, (len(factor), -1))
            return ((by_row * factor.to(x.device, x.dtype).view(shape)).flatten(0, 1), *args[1:])

        handles.append(layer.register_forward_pre_hook(scale))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def verify_decoded(
    decoded: nn.Module,
    network: nn.Module,
    plan: SlicingPlan,
    kept: Tensor,
    *,
    output: int,
    images: Tensor,
    tolerance: float = 1e-4,
) -> float:
    """Check a decoded network against the masked whole one, so that a wrong one is never kept.

    Args:
        decoded: the sliced network with one output.
        network: the whole network.
        plan: its slicing plan.
        kept: bool (plan.channels,).
        output: which score ``decoded`` gives.
        images: prepared images, float (N, C, H, W).
        tolerance: largest difference allowed, as a share of the largest score (float32 sums in
            another order differ by some 1e-6 of it).

    Returns:
        The largest difference, as a share of the largest score.

    Raises:
        DecodeError: if a score is not finite or differs by more than ``tolerance``.
    """
    exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)  # TF32 errs by 1e-3
    with exact, inference(network), inference(decoded), masked(network, plan, kept):
        expected = network(images)[:, output]
        try:
            found = decoded(images)[:, 0]
        except RuntimeError as error:
            raise DecodeError(
                f"the decoded network fails where the whole one runs: {error}. A size written "
                "into the network's code (a view to a fixed width) can't follow the slicing"
            ) from error
    if not torch.isfinite(expected).all():
        raise DecodeError("the masked network gives scores that are not finite")
    scale = max(float(expected.abs().max()), 1.0)
    difference = float((found - expected).abs().max()) / scale
    if not difference <= tolerance:
        raise DecodeError(
            f"decoded and masked scores differ by {difference:.2e} of the largest score, "
            f"more than {tolerance:.0e}: the slicing plan is wrong for this network"
        )
    return difference
