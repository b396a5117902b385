"""Rules for operations that leave each channel by itself."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from modularizer.analysis.call import Call
from modularizer.analysis.channel_ids import Traced, along, compact
from modularizer.analysis.findings import Findings
from modularizer.errors import PlanError


def keep(call: Call, findings: Findings) -> Tensor:
    """Element by element: ids stay where they are."""
    if sum(isinstance(arg, Traced) for arg in (*call.args, *call.kwargs.values())) != 1:
        raise PlanError(f"{call.where}: takes more than one activation; it can't be sliced")
    return call.source.ids


def keep_unless_training(call: Call, findings: Findings) -> Tensor:
    """Dropout as a function: nothing in evaluation mode, if it is told of the mode."""
    position = 3 if getattr(call.target, "__name__", "") == "stochastic_depth" else 2
    if call.argument(position, "training", True):
        raise PlanError(
            f"{call.where}: drops at random in evaluation mode, too; pass training=self.training"
        )
    return call.source.ids


def pool(call: Call, findings: Findings) -> Tensor:
    """Over space, channel by channel: ids follow the channel dimension."""
    if call.source.value.ndim != 4:
        raise PlanError(f"{call.where}: takes images' feature maps (N, C, H, W) alone")
    channels = along(call.source.ids, 1, call.where)
    findings.works_on(call.node, channels)
    return channels.view(1, -1, 1, 1).expand(call.shaped.shape)


def pad(call: Call, findings: Findings) -> Tensor:
    """Over space, as a pool; along channels with a constant, which always stays."""
    sizes = call.argument(1, "pad")
    if len(sizes) <= 4:
        return pool(call, findings)
    if call.argument(2, "mode", "constant") != "constant":
        raise PlanError(f"{call.where}: pads channels with other channels; it can't be sliced")
    return F.pad(call.source.ids, sizes, value=findings.always)


def combine(call: Call, findings: Findings) -> Tensor:
    """Addition, multiplication, ... of two activations: what meets goes together.

    Where one map meets many different channels at once, as in spatial attention, it belongs to
    none of them, and always stays.
    """
    given = (*call.args, *call.kwargs.values())
    operands = [_widened(arg, call) for arg in given if isinstance(arg, Traced)]
    shape = call.shaped.shape
    if len(operands) == 1:
        return operands[0].ids.expand(shape)
    if len(operands) != 2:
        raise PlanError(f"{call.where}: takes {len(operands)} activations; it can't be sliced")
    one, other = operands
    spread = findings.decided(call.node, lambda: (_meets_many(one, other), _meets_many(other, one)))
    for operand, meets_many in zip(operands, spread, strict=True):
        if meets_many:
            findings.pin(operand.ids, call.where)
    if not any(spread):
        findings.unite(one.ids, other.ids, call.where)
        simpler = one if compact(one.ids).numel() <= compact(other.ids).numel() else other
        return simpler.ids.expand(shape)
    return (other if spread[0] else one).ids.expand(shape)


def reduce_within_channels(call: Call, findings: Findings) -> Tensor:
    """A mean, sum or extremum over dimensions within which all values are of one channel."""
    dims = call.argument(1, "dim")
    if dims is None:
        raise PlanError(f"{call.where}: over everything, it mixes channels")
    ids = call.source.ids
    wanted = sorted(d % ids.ndim for d in ([dims] if isinstance(dims, int) else dims))
    small = compact(ids)
    if 0 in wanted or any(small.shape[dim] > 1 for dim in wanted):
        raise PlanError(f"{call.where}: over dimension {dims}, it mixes channels")
    for dim in reversed(wanted):
        ids = ids.select(dim, 0)
        if call.argument(2, "keepdim", False):
            ids = ids.unsqueeze(dim)
    return ids


def _widened(operand: Traced, call: Call) -> Traced:
    """The operand with as many dimensions as the result has."""
    missing = [1] * (call.shaped.ndim - operand.value.ndim)
    shape: Any = (*missing, *operand.value.shape)
    return Traced(operand.value.view(shape), operand.ids[(None,) * len(missing)])


def _meets_many(one: Traced, other: Traced) -> bool:
    own = compact(one.value).shape  # 1 where it is broadcast, or was expanded
    sizes = zip(own, other.value.shape, compact(other.ids).shape, strict=True)
    return any(size == 1 and its > 1 and channels > 1 for size, its, channels in sizes)
