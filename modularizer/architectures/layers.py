"""Pieces that the reference networks share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from modularizer.errors import ArchitectureError


def conv_block(in_channels: int, kernels: int, *, batch_norm: bool) -> nn.Sequential:
    """A 3 x 3 convolution with bias and padding 1, a batch norm if asked for, and ReLU."""
    layers: list[nn.Module] = [nn.Conv2d(in_channels, kernels, 3, padding=1)]
    if batch_norm:
        layers.append(nn.BatchNorm2d(kernels))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def initialise_convolutions(network: nn.Module) -> None:
    """He's normal initialisation over outgoing connections, biases zero (VGG's habit)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def scaled(widths: Sequence[int], multiplier: float) -> tuple[int, ...]:
    """Each width times ``multiplier``, rounded, at least 1.

    Raises:
        ArchitectureError: if a width is no whole number from 1, or the multiplier is not above 0
            and finite.
    """
    if not (isinstance(multiplier, int | float) and 0 < multiplier < math.inf):
        raise ArchitectureError(f"width_multiplier must be above 0 and finite, found {multiplier}")
    for width in widths:
        if not isinstance(width, int) or width < 1:
            raise ArchitectureError(f"widths must be whole numbers from 1, found {width!r}")
    return tuple(max(1, round(width * multiplier)) for width in widths)


def require_poolable(input_size: int, *, pools: int) -> int:
    """The side that is left of ``input_size`` pixels after that many 2 x 2 pools.

    Raises:
        ArchitectureError: if nothing is left.
    """
    side = input_size >> pools
    if side < 1:
        fits = math.floor(math.log2(max(input_size, 1)))
        raise ArchitectureError(
            f"an input of {input_size} pixels allows {fits} halvings, the network has {pools}; "
            "give it fewer stages (such as stages=[[16,16],[32,32]]) or larger images"
        )
    return side
