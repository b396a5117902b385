"""What one network costs, and several together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from modularizer.classifier import ImageNetwork
from modularizer.cost import count_cost

COUNTS = ("kernels", "parameters", "multiply_adds", "weights_bytes", "bundle_bytes")
"""What is counted, in the order in which it is shown."""


@dataclass(frozen=True)
class Counted:
    """What a network costs, or several at once; a mean need not be whole.

    Attributes:
        name: what it is.
        kernels: output channels of all convolutions.
        multiply_adds: fvcore's count for one image.
        parameters: weights and biases; None where they were not counted.
        weights_bytes: of all tensors, in memory; None likewise.
        bundle_bytes: of the files of its bundle but ``bundle.json``; None where it has none.
    """

    name: str
    kernels: float
    multiply_adds: float
    parameters: float | None = None
    weights_bytes: float | None = None
    bundle_bytes: float | None = None


def counted(name: str, part: ImageNetwork, *, bundle_bytes: int | None = None) -> Counted:
    """Count a classifier or a class module.

    Args:
        name: what to call it.
        part: left as it is.
        bundle_bytes: of its files, if it is registered.
    """
    cost = count_cost(part.network, part.preprocessing)
    return Counted(
        name,
        kernels=cost.kernels,
        multiply_adds=cost.multiply_adds,
        parameters=cost.parameters,
        weights_bytes=_tensor_bytes(part.network),
        bundle_bytes=bundle_bytes,
    )


def together(name: str, parts: Sequence[Counted]) -> Counted:
    """Several networks side by side: each is stored whole and sees the image by itself.

    What was not counted of one of them is not known of all.
    """
    return Counted(name, **_sums(parts))


def mean_of(name: str, parts: Sequence[Counted]) -> Counted:
    """One of several, on average."""
    return Counted(name, **{count: total / len(parts) for count, total in _sums(parts).items()})


def _sums(parts: Sequence[Counted]) -> dict[str, float]:
    values = {count: [getattr(part, count) for part in parts] for count in COUNTS}
    return {count: sum(found) for count, found in values.items() if None not in found}


def _tensor_bytes(network: nn.Module) -> int:
    """Parameters and buffers, such as a batch norm's statistics."""
    return sum(one.numel() * one.element_size() for one in network.state_dict().values())
