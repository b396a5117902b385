"""What a walk over a network writes down: first to make the plan, then to check it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from modularizer.analysis.channel_ids import PINNED, ChannelIds, compact
from modularizer.errors import PlanError


@dataclass(frozen=True)
class Statistics:
    """How a norm mixes channels: over which dimensions of its input it takes mean and variance.

    Attributes:
        ids: int64 (channels,): of its input's channel dimension.
        dim: that dimension, counted from the end, so negative.
        dims: the dimensions that a statistic is taken over, likewise; ``dim`` is one of them.
    """

    ids: Tensor
    dim: int
    dims: tuple[int, ...]


class Findings(Protocol):
    """What rules tell the walk, and ask it."""

    @property
    def always(self) -> int:
        """The id of what is never removed."""

    def made(self, tensor: str, count: int) -> Tensor:
        """The ids along dimension 0 of a layer's weight, (count,); the same at each call."""

    def parameter(self, name: str, shape: torch.Size) -> Tensor:
        """The ids of a tensor that is used outside of layers, element by element."""

    def decided(self, key: str, decide: Callable[[], Any]) -> Any:
        """What was decided at a node on the whole network; ``decide`` is asked there alone."""

    def unite(self, first: Tensor, second: Tensor, where: str) -> None:
        """Ids meet element by element: they go together. Shapes as in broadcasting."""

    def pin(self, ids: Tensor, where: str) -> None:
        """These ids are never removed."""

    def carries(self, tensor: str, dim: int, ids: Tensor, where: str) -> None:
        """A tensor's dimension carries these ids."""

    def consumes(self, layer: str, ids: Tensor, where: str) -> None:
        """A convolution or linear layer takes these in."""

    def kernels(self, layer: str, ids: Tensor) -> None:
        """A convolution's kernels."""

    def mixes(self, name: str, statistics: Statistics) -> None:
        """A norm, or the weight of a functional one, takes statistics over channels."""

    def normalises(self, layer: str, ids: Tensor, where: str) -> None:
        """A norm, which may have no tensors to tell, works on these channels."""

    def works_on(self, node: str, ids: Tensor) -> None:
        """A norm or an operation over space works on these channels."""


@dataclass
class Collected:
    """Findings on the whole network: ids are made, and united where they meet.

    Attributes:
        ids: every channel id so far.
        tensors: (tensor name, dimension) -> ids along it.
        parameters: name of a tensor used outside of layers -> ids of its elements.
        consumers: layer name -> ids of its input's channels or features.
        kernel_ids: convolution name -> ids of its kernels.
        statistics: norm or weight name -> how it mixes channels.
        normalised: instance norm -> ids of its input's channels.
        worked_on: node name -> ids of the channels of its input.
        decisions: what was decided at nodes.
    """

    always: int = PINNED
    ids: ChannelIds = field(default_factory=ChannelIds)
    tensors: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    parameters: dict[str, Tensor] = field(default_factory=dict)
    consumers: dict[str, Tensor] = field(default_factory=dict)
    kernel_ids: dict[str, Tensor] = field(default_factory=dict)
    statistics: dict[str, Statistics] = field(default_factory=dict)
    normalised: dict[str, Tensor] = field(default_factory=dict)
    worked_on: dict[str, Tensor] = field(default_factory=dict)
    decisions: dict[str, Any] = field(default_factory=dict)

    def made(self, tensor: str, count: int) -> Tensor:
        """Fresh ids at the first call."""
        if (tensor, 0) not in self.tensors:
            self.tensors[tensor, 0] = self.ids.fresh(count)
        return self.tensors[tensor, 0]

    def parameter(self, name: str, shape: torch.Size) -> Tensor:
        """A fresh id an element; those with a single element always stay."""
        if name not in self.parameters:
            count = shape.numel()
            ids = self.ids.fresh(count) if count > 1 else torch.full((count,), PINNED)
            self.parameters[name] = ids.view(shape)
        return self.parameters[name]

    def decided(self, key: str, decide: Callable[[], Any]) -> Any:
        """Decide, and remember it."""
        if key not in self.decisions:
            self.decisions[key] = decide()
        return self.decisions[key]

    def unite(self, first: Tensor, second: Tensor, where: str) -> None:
        """From here on they are one."""
        self.ids.unite(first, second)

    def pin(self, ids: Tensor, where: str) -> None:
        """Unite them with what always stays."""
        self.ids.unite(ids, torch.tensor(PINNED))

    def carries(self, tensor: str, dim: int, ids: Tensor, where: str) -> None:
        """A second note unites both."""
        self.ids.unite(self.tensors.setdefault((tensor, dim), ids), ids)

    def consumes(self, layer: str, ids: Tensor, where: str) -> None:
        """A second note unites both."""
        self.ids.unite(self.consumers.setdefault(layer, ids), ids)

    def kernels(self, layer: str, ids: Tensor) -> None:
        """Note them."""
        self.kernel_ids[layer] = ids

    def mixes(self, name: str, statistics: Statistics) -> None:
        """A second note must agree with the first."""
        known = self.statistics.setdefault(name, statistics)
        if (known.dim, known.dims) != (statistics.dim, statistics.dims):
            raise PlanError(f"{name}: takes statistics over channels in two ways")
        self.ids.unite(known.ids, statistics.ids)

    def normalises(self, layer: str, ids: Tensor, where: str) -> None:
        """A second note unites both."""
        self.ids.unite(self.normalised.setdefault(layer, ids), ids)

    def works_on(self, node: str, ids: Tensor) -> None:
        """Note them."""
        self.worked_on[node] = ids


@dataclass
class Compared:
    """Findings on a sliced network: ids are the plan's entries, and must agree where they meet.

    Attributes:
        always: the entry of what is never removed.
        entries: tensor name -> dimension -> entries that stayed.
        consumers: layer name -> entries of its input that stayed.
        normalised: instance norm -> entries of its input that stayed.
        decisions: those made on the whole network.
    """

    always: int
    entries: Mapping[str, Mapping[int, Tensor]]
    consumers: Mapping[str, Tensor]
    normalised: Mapping[str, Tensor]
    decisions: Mapping[str, Any]

    def made(self, tensor: str, count: int) -> Tensor:
        """What stayed of them."""
        return self.entries[tensor][0]

    def parameter(self, name: str, shape: torch.Size) -> Tensor:
        """The entries of the dimension that was sliced, if one was."""
        ids = torch.tensor(self.always).expand(shape)
        for dim, entries in self.entries.get(name, {}).items():
            ids = entries.view([-1 if d == dim else 1 for d in range(len(shape))]).expand(shape)
        return ids

    def decided(self, key: str, decide: Callable[[], Any]) -> Any:
        """As on the whole network."""
        return self.decisions[key]

    def unite(self, first: Tensor, second: Tensor, where: str) -> None:
        """Raise a `PlanError` if they are not the same already."""
        a, b = compact(first), compact(second)
        if not bool((a == b).all()):
            raise PlanError(f"{where}: channels meet there in another order than before")

    def pin(self, ids: Tensor, where: str) -> None:
        """Raise a `PlanError` if one of them could be removed."""
        self.unite(ids, torch.tensor(self.always), where)

    def carries(self, tensor: str, dim: int, ids: Tensor, where: str) -> None:
        """Raise a `PlanError` unless that is what the plan says."""
        self._agree(self.entries[tensor][dim], ids, where)

    def consumes(self, layer: str, ids: Tensor, where: str) -> None:
        """Raise a `PlanError` unless that is what the plan says."""
        self._agree(self.consumers[layer], ids, where)

    def kernels(self, layer: str, ids: Tensor) -> None:
        """Nothing to check that `made` didn't give."""

    def mixes(self, name: str, statistics: Statistics) -> None:
        """Nothing to check that `carries` didn't."""

    def normalises(self, layer: str, ids: Tensor, where: str) -> None:
        """Raise a `PlanError` unless that is what the plan says."""
        self._agree(self.normalised[layer], ids, where)

    def works_on(self, node: str, ids: Tensor) -> None:
        """Nothing is sliced there."""

    def _agree(self, expected: Tensor, found: Tensor, where: str) -> None:
        if not torch.equal(expected, found):
            raise PlanError(f"{where}: other channels arrive there than the plan expects")
