"""The slicing plan: for each dimension of each tensor, which channels it carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx

from modularizer.errors import DecodeError


@dataclass(frozen=True)
class Segment:
    """Convolutions whose kernels are kept or removed together, channel by channel.

    A plain convolution is a segment of its own; those joined by a residual addition share one
    (section 3.3.2, coupled layers).

    Attributes:
        layers: names of the convolutions, in the order they run.
        start: index of the segment's first channel.
        stop: index after its last channel.
    """

    layers: tuple[str, ...]
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def channels(self) -> slice:
        """Where the segment's channels lie in a mask."""
        return slice(self.start, self.stop)


@dataclass(frozen=True, eq=False)
class SlicingPlan:
    """How a network is cut: everything decoding and masking need to know, found once.

    A *channel* is what can be removed: one kernel, or one kernel in each of several coupled
    convolutions. A mask, ``kept``, is bool of shape (channels,). An *entry* names what a
    position along a tensor's dimension belongs to: a channel (0 ... channels - 1), something
    that always stays (``channels``), or output ``o`` (``channels + 1 + o``).

    Attributes:
        segments: the segments in the order they run; together they hold every channel.
        kernels_per_channel: int64 (channels,): how many kernels a channel stands for.
        kernels: kernels of all convolutions, those that can't be removed included.
        outputs: how many scores the network gives.
        entries: tensor name -> dimension -> int64 entries, one for each position.
        consumers: layer name -> int64 entries of its input's channel (or feature) dimension.
        graph: the traced network.
        observations: node name -> int64 (C,), the channel that each of its feature maps belongs
            to; one node a segment, where its importance is read.
    """

    segments: tuple[Segment, ...]
    kernels_per_channel: Tensor
    kernels: int
    outputs: int
    entries: Mapping[str, Mapping[int, Tensor]]
    consumers: Mapping[str, Tensor]
    graph: fx.Graph = field(repr=False)
    observations: Mapping[str, Tensor] = field(repr=False)

    @property
    def channels(self) -> int:
        """The length of a mask."""
        return len(self.kernels_per_channel)

    def kernels_kept(self, kept: Tensor) -> Tensor:
        """Kernels that stay under each mask: int64 (...,) of bool masks (..., channels)."""
        removed = (~kept).to(torch.int64) @ self.kernels_per_channel
        return self.kernels - removed

    def alive(self, kept: Tensor, output: int | None) -> Tensor:
        """Which entries stay: bool (channels + 1 + outputs,).

        Args:
            kept: bool (channels,).
            output: the one output to keep, or None for all.

        Raises:
            DecodeError: if the mask has another shape or dtype, there is no such output, or a
                segment or one of its layers would lose its last channel.
        """
        if kept.shape != (self.channels,) or kept.dtype != torch.bool:
            raise DecodeError(
                f"expected a bool mask of shape ({self.channels},), found {kept.dtype} of shape "
                f"{tuple(kept.shape)}: the mask belongs to another network"
            )
        if output is not None and not 0 <= output < self.outputs:
            raise DecodeError(f"the network has outputs 0..{self.outputs - 1}, not {output}")
        for segment in self.segments:
            if not kept[segment.channels].any():
                raise DecodeError(
                    f"the mask removes every kernel of {' + '.join(segment.layers)}; "
                    "a layer keeps at least one"
                )
        outputs = torch.ones(self.outputs, dtype=torch.bool)
        if output is not None:
            outputs = torch.arange(self.outputs) == output
        alive = torch.cat([kept.cpu(), torch.ones(1, dtype=torch.bool), outputs])
        for layer in (one for s in self.segments if len(s.layers) > 1 for one in s.layers):
            if not alive[self.entries[f"{layer}.weight"][0]].any():  # of coupled layers, one
                raise DecodeError(
                    f"the mask removes every kernel of {layer}; a layer keeps at least one"
                )
        return alive
