"""Rules for operations that move values and compute nothing: ids move as the values do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modularizer.analysis.call import Call
from modularizer.analysis.channel_ids import Origin, Traced, compact, tidied
from modularizer.analysis.findings import Findings
from modularizer.analysis.selecting import Select
from modularizer.errors import PlanError


def move(call: Call, findings: Findings) -> Any:
    """View, permute, chunk, ...: as the values move, and remembering where they came from."""
    source = call.source
    origin = source.origin
    if origin is None and source.value.ndim >= 2:
        origin = Origin.of(call.source_node, source.value.shape)
    ids = _applied(call, source.ids)
    if origin is None:
        return _each(tidied, ids)
    channels, places = _applied(call, origin.channel), _applied(call, origin.place)
    if isinstance(ids, Tensor):
        return _traced(call.value, ids, origin, channels, places)
    return [
        _traced(value, one, origin, channel, place)
        for value, one, channel, place in zip(call.value, ids, channels, places, strict=True)
    ]


def stay(call: Call, findings: Findings) -> Traced:
    """Nothing moves and nothing is computed: a copy, or dropout in evaluation mode."""
    return Traced(call.shaped, call.source.ids, call.source.origin)


def expand(call: Call, findings: Findings) -> Tensor:
    """Expansion, to sizes or to those of another activation: ids are repeated as values are."""
    shape = call.shaped.shape
    ids = call.source.ids[(None,) * (len(shape) - call.source.ids.ndim)]
    if isinstance(like := call.argument(1, "other"), Traced):
        _go_together(call, ids, like, findings)
    return ids.expand(shape)


def _go_together(call: Call, ids: Tensor, like: Traced, findings: Findings) -> None:
    """Where the source keeps its own size, that has to go on being the other's."""
    own = (1,) * (like.value.ndim - call.source.value.ndim) + tuple(call.source.value.shape)
    theirs = compact(like.ids)
    repeated = [dim for dim, size in enumerate(own) if size == 1 and theirs.shape[dim] > 1]
    if not repeated:
        findings.unite(ids, theirs, call.where)


def select(call: Call, findings: Findings) -> Tensor:
    """A layer that selects channels: their ids, in its order."""
    assert isinstance(call.submodule, Select)
    ids = call.source.ids
    small = compact(ids)
    small = small.expand(-1, ids.shape[1], *[-1] * (ids.ndim - 2))
    return small.index_select(1, call.submodule.index).expand(call.shaped.shape)


def concatenate(call: Call, findings: Findings) -> Tensor:
    """Concatenation: ids are concatenated, those that don't change over space without copying."""
    parts, dim = call.argument(0, "tensors"), call.argument(1, "dim", 0)
    if not all(isinstance(part, Traced) for part in parts):
        raise PlanError(f"{call.where}: joins an activation and something else")
    dim %= parts[0].ids.ndim
    small = [compact(part.ids) for part in parts]
    shape = [max(sizes) for sizes in zip(*[part.shape for part in small], strict=True)]
    widened = [
        part.expand([ids.shape[d] if d == dim else size for d, size in enumerate(shape)])
        for part, ids in zip(small, [part.ids for part in parts], strict=True)
    ]
    return torch.cat(widened, dim).expand(call.shaped.shape)


def _traced(value: Tensor, ids: Tensor, origin: Origin, channel: Tensor, place: Tensor) -> Traced:
    return Traced(value, tidied(ids), Origin(origin.node, origin.shape, channel, place))


def _each(function: Any, tensors: Any) -> Any:
    if isinstance(tensors, Tensor):
        return function(tensors)
    return [function(tensor) for tensor in tensors]


def _applied(call: Call, tensor: Tensor) -> Any:
    """The operation on another tensor in place of the activation."""
    args = list(call.args)
    kwargs = dict(call.kwargs)
    if args:
        args[0] = tensor
    else:
        kwargs["input"] = tensor
    if any(isinstance(arg, Traced) for arg in (*args, *kwargs.values())):
        raise PlanError(f"{call.where}: takes more than one activation; it can't be sliced")
    try:
        if call.submodule is not None:
            return call.submodule(*args, **kwargs)
        if isinstance(call.target, str):
            method = "reshape" if call.target == "view" else call.target  # as if contiguous
            return getattr(args[0], method)(*args[1:], **kwargs)
        return call.target(*args, **kwargs)
    except (TypeError, RuntimeError, IndexError) as error:
        raise PlanError(f"{call.where}: not understood: {error}") from error
