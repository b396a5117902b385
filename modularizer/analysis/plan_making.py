"""From what a walk found to the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, fx, nn

from modularizer.analysis.channel_ids import PINNED, Traced, compact
from modularizer.analysis.findings import Collected
from modularizer.analysis.plan import Mixing, Segment, Selection, SlicingPlan
from modularizer.analysis.selecting import refuse_changes_in_place, template_of
from modularizer.analysis.walk import Walk
from modularizer.errors import PlanError


def make_plan(
    network: nn.Module, graph: fx.Graph, walk: Walk, findings: Collected, output: Traced
) -> SlicingPlan:
    """The plan of a network that was walked through.

    Args:
        network: on ``meta``.
        graph: its graph.
        walk: the walk.
        findings: what the walk found.
        output: the network's scores, (1, outputs).

    Raises:
        PlanError: if scores are not outputs of one layer each, or a parameter used outside of
            layers belongs to channels along two dimensions, or selected channels are changed
            in place and used again, or are of several kinds at once.
    """
    roots = findings.ids.all_roots()
    output_roots = roots[output.ids[0]].tolist()
    if len(set(output_roots)) != len(output_roots) or PINNED in output_roots:
        raise PlanError("the network's scores don't come from outputs of one layer each")
    kernels = {name: roots[ids].tolist() for name, ids in findings.kernel_ids.items()}
    segments, channel_of = _segments(kernels, {PINNED, *output_roots})
    channels = len(channel_of)
    numbering = _Numbering(roots, channel_of, output_roots)
    entries = _tensors(network, findings, numbering)
    consumers = {name: numbering.entries(ids) for name, ids in findings.consumers.items()}
    mixing = {
        name: Mixing(numbering.entries(one.ids), one.dim, one.dims)
        for name, one in findings.statistics.items()
    }
    _refuse_scores_taken_in(
        {**consumers, **{name: one.entries for name, one in mixing.items()}}, channels
    )
    selections = _selections(walk, numbering)
    refuse_changes_in_place(
        network, graph, walk.origins, {source for source, _ in selections.values()}
    )
    template, selected = template_of(network, graph, selections)
    return SlicingPlan(
        segments=segments,
        kernels_per_channel=_kernels_per_channel(kernels, channel_of),
        kernels=sum(len(layer_roots) for layer_roots in kernels.values()),
        kernels_of_scores=sum(
            output_roots.count(root) for layer_roots in kernels.values() for root in layer_roots
        ),
        outputs=len(output_roots),
        entries=entries,
        consumers=consumers,
        layer_channels=_layer_channels(segments, entries, consumers, selected, channels),
        mixing=mixing,
        normalised={name: numbering.entries(ids) for name, ids in findings.normalised.items()},
        worked_on={node: numbering.entries(ids) for node, ids in findings.worked_on.items()},
        graph=graph,
        observations=_observations(
            {name: numbering.entries(ids) for name, ids in walk.observable.items()}, channels
        ),
        selections=selected,
        template=template,
    )


def _refuse_scores_taken_in(taken: Mapping[str, Tensor], channels: int) -> None:
    for name, entries in taken.items():
        if bool((entries > channels).any()):
            raise PlanError(
                f"{name}: computes with several scores at once; a class module has one alone"
            )


class _Numbering:
    """From ids to entries; equal entries are one tensor: decoding counts on it."""

    def __init__(
        self, roots: Tensor, channel_of: Mapping[int, int], output_roots: list[int]
    ) -> None:
        self.channels = len(channel_of)
        self.table = torch.full(roots.shape, self.channels)
        for index, root in enumerate(output_roots):
            self.table[root] = self.channels + 1 + index
        for root, channel in channel_of.items():
            self.table[root] = channel
        self.table = self.table[roots]
        self._shared: dict[bytes, Tensor] = {}

    def entries(self, ids: Tensor) -> Tensor:
        """The entries of ids, same shape."""
        found = self.table[ids]
        key = repr(tuple(found.shape)).encode() + found.numpy().tobytes()
        return self._shared.setdefault(key, found)


def _segments(
    kernels: dict[str, list[int]], fixed: set[int]
) -> tuple[tuple[Segment, ...], dict[int, int]]:
    """Convolutions that share a channel, and the number of each removable channel by its root."""
    together: list[tuple[list[str], dict[int, None]]] = []  # dicts as ordered sets
    order = {name: position for position, name in enumerate(kernels)}
    for name, layer_roots in kernels.items():
        removable = dict.fromkeys(root for root in layer_roots if root not in fixed)
        if not removable:
            continue
        names, channels = [name], removable
        for other in [group for group in together if group[1].keys() & removable.keys()]:
            together.remove(other)
            names, channels = other[0] + names, other[1] | channels
        together.append((sorted(names, key=order.__getitem__), channels))
    together.sort(key=lambda group: order[group[0][0]])
    segments: list[Segment] = []
    channel_of: dict[int, int] = {}
    for names, channels in together:
        start = len(channel_of)
        channel_of |= {root: start + offset for offset, root in enumerate(channels)}
        segments.append(Segment(tuple(names), start, len(channel_of)))
    return tuple(segments), channel_of


def _kernels_per_channel(kernels: dict[str, list[int]], channel_of: Mapping[int, int]) -> Tensor:
    counts = torch.zeros(len(channel_of), dtype=torch.int64)
    for layer_roots in kernels.values():
        for root in layer_roots:
            if root in channel_of:
                counts[channel_of[root]] += 1
    return counts


def _tensors(
    network: nn.Module, findings: Collected, numbering: _Numbering
) -> dict[str, dict[int, Tensor]]:
    """Entries of layers' tensors, and of the parameters that are used outside of layers."""
    known = {name for name, _ in [*network.named_parameters(), *network.named_buffers()]}
    tensors: dict[str, dict[int, Tensor]] = {}
    for (name, dim), ids in findings.tensors.items():
        tensors.setdefault(name, {})[dim] = numbering.entries(ids)
    for name, ids in findings.parameters.items():
        found = numbering.entries(ids)
        if not bool((found != numbering.channels).any()):
            continue
        if name not in known:
            raise PlanError(f"{name}: no parameter or buffer, so it can't be sliced; register it")
        dims = [d for d in range(found.ndim) if bool((found != found.narrow(d, 0, 1)).any())]
        dims = dims or [d for d in range(found.ndim) if found.shape[d] > 1]
        if len(dims) != 1:
            raise PlanError(f"{name}: belongs to channels along several of its dimensions")
        flat = ids.movedim(dims[0], 0).reshape(ids.shape[dims[0]], -1)[:, 0]
        tensors.setdefault(name, {})[dims[0]] = numbering.entries(flat)
    return tensors


def _selections(walk: Walk, numbering: _Numbering) -> dict[str, tuple[str, Selection]]:
    """Where channels or scores that may go are selected: node -> (its source, which)."""
    found = {}
    for node, (source, chosen, ids) in walk.selections.items():
        if compact(ids).shape[1] == 1:
            continue  # positions of something else than channels: none of them goes
        by_position = compact(ids)[0].reshape(ids.shape[1], -1)
        entries, first = numbering.entries(by_position), numbering.entries(by_position[:, 0])
        if bool((entries == numbering.channels).all()):
            continue
        if not bool((entries == first[:, None]).all()):
            raise PlanError(f"{node}: selects positions that mix channels; it can't be sliced")
        found[node] = (source, Selection(first, chosen))
    return found


def _layer_channels(
    segments: tuple[Segment, ...],
    entries: Mapping[str, Mapping[int, Tensor]],
    consumers: Mapping[str, Tensor],
    selections: Mapping[str, Selection],
    channels: int,
) -> dict[str, Tensor]:
    """The smallest sets of channels of which one has to stay, by the layer they belong to.

    A segment is one of them: where its layers also make outputs, or kernels that always stay, no
    layer's own set says so.
    """
    sets: dict[tuple[int, ...], str] = {}
    for where, found in _sliced_dimensions(entries, consumers, selections):
        if bool((found < channels).all()):
            sets.setdefault(tuple(found.unique().tolist()), where)
    for segment in segments:
        sets.setdefault(tuple(range(segment.start, segment.stop)), " + ".join(segment.layers))
    assert len(set(sets.values())) == len(sets)
    members = torch.zeros(len(sets), channels)
    for row, one in enumerate(sets):
        members[row, list(one)] = 1
    shared = members @ members.T
    inside = shared == shared.diagonal()[:, None]  # row's set lies in column's
    needed = ~(inside & ~torch.eye(len(sets), dtype=torch.bool)).any(dim=0)
    return {
        where: torch.tensor(one)
        for (one, where), smallest in zip(sets.items(), needed.tolist(), strict=True)
        if smallest
    }


def _sliced_dimensions(
    entries: Mapping[str, Mapping[int, Tensor]],
    consumers: Mapping[str, Tensor],
    selections: Mapping[str, Selection],
) -> Iterable[tuple[str, Tensor]]:
    for tensor, by_dim in entries.items():
        name = tensor.removesuffix(".weight")
        for dim, found in by_dim.items():
            yield name if dim == 0 else f"{name}'s inputs", found
    for layer, found in consumers.items():
        yield f"{layer}'s inputs", found
    for name, selection in selections.items():
        yield name, selection.source[selection.chosen]


def _observations(observable: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """Each channel at the last node that shows it: after its activation and last addition."""
    last = torch.full((channels + 1,), -1)
    for index, entries in enumerate(observable.values()):
        last[entries[entries < channels]] = index
    found = {}
    for index, (name, entries) in enumerate(observable.items()):
        capped = entries.clamp(max=channels)
        here = torch.where(last[capped] == index, capped, channels)
        if bool((here < channels).any()):
            found[name] = here
    return found
