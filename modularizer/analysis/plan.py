"""The slicing plan: for each dimension of each tensor, which channels it carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

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
class Selection:
    """Where a network takes some of an activation's channels, or puts them in another order.

    Attributes:
        source: int64 (C,): entries of the activation's channels.
        chosen: int64 (selected,): positions among them, in the order in which they are given.
    """

    source: Tensor
    chosen: Tensor

    def index(self, alive: Tensor) -> Tensor:
        """Positions among the channels that stay: int64, for those of ``chosen`` that stay."""
        stays = alive[self.source]
        return (stays.cumsum(0) - 1)[self.chosen[stays[self.chosen]]]


@dataclass(frozen=True, eq=False)
class Mixing:
    """How a norm mixes channels: its statistics are over those that are kept, by definition.

    Attributes:
        entries: int64 (C,): of its input's channel dimension.
        dim: that dimension, counted from the end (negative).
        dims: the dimensions that mean and variance are taken over, likewise.
    """

    entries: Tensor
    dim: int
    dims: tuple[int, ...]


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
        kernels_of_scores: kernels of convolutions that make the scores.
        outputs: how many scores the network gives.
        entries: tensor name -> dimension -> int64 entries, one for each position.
        consumers: layer name -> int64 entries of its input's channel (or feature) dimension.
        layer_channels: what may not be emptied -> int64 channels, of which a mask keeps at least
            one: a layer's kernels or inputs, or a segment's channels. Those that hold all of
            another one's are left out.
        mixing: name of a norm, or of the weight of a functional one -> how it mixes channels.
        normalised: name of an instance norm -> int64 entries of its input's channels: it may have
            no tensors that tell.
        worked_on: node name of a norm, pool or interpolation -> the same of its input's channels.
        graph: the traced network.
        observations: node name -> int64 (C,), the channel that each of its feature maps belongs
            to, or ``channels`` where it is read at another node: each channel's importance is
            read at the last node that shows it.
        selections: name of a layer of ``template`` -> which channels it selects.
        template: the network with a layer of its own wherever channels are selected or put in
            another order (channel shuffle, chunk, split), on ``meta``; None where there is no
            such place and the network's own code runs on sliced tensors as it is.
    """

    segments: tuple[Segment, ...]
    kernels_per_channel: Tensor
    kernels: int
    kernels_of_scores: int
    outputs: int
    entries: Mapping[str, Mapping[int, Tensor]]
    consumers: Mapping[str, Tensor]
    layer_channels: Mapping[str, Tensor]
    mixing: Mapping[str, Mixing]
    normalised: Mapping[str, Tensor]
    worked_on: Mapping[str, Tensor]
    graph: fx.Graph = field(repr=False)
    observations: Mapping[str, Tensor] = field(repr=False)
    selections: Mapping[str, Selection] = field(repr=False)
    template: nn.Module | None = field(repr=False)

    @property
    def channels(self) -> int:
        """The length of a mask."""
        return len(self.kernels_per_channel)

    def kernels_kept(self, kept: Tensor) -> Tensor:
        """Kernels of a class module by each mask: int64 (...,) of bool masks (..., channels).

        Where convolutions make the scores, a module has those of a single one.
        """
        removed = (~kept).to(torch.int64) @ self.kernels_per_channel
        return self.module_kernels - removed

    @property
    def module_kernels(self) -> int:
        """Kernels of a class module from which none is removed."""
        return self.kernels - self.kernels_of_scores + self.kernels_of_scores // self.outputs

    def alive(self, kept: Tensor, output: int | None) -> Tensor:
        """Which entries stay: bool (channels + 1 + outputs,).

        Args:
            kept: bool (channels,).
            output: the one output to keep, or None for all.

        Raises:
            DecodeError: if the mask has another shape or dtype, there is no such output, or a
                layer would lose its last kernel or input.
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
        for layer, channels in self.layer_channels.items():
            if not kept[channels].any():
                raise DecodeError(f"the mask removes every kernel of {layer}; one has to stay")
        outputs = torch.ones(self.outputs, dtype=torch.bool)
        if output is not None:
            outputs = torch.arange(self.outputs) == output
        return torch.cat([kept.cpu(), torch.ones(1, dtype=torch.bool), outputs])
