"""Rules for layers that have tensors of their own: what is sliced with which channel."""

from __future__ import annotations

from torch import Tensor, nn

from modularizer.analysis.call import Call
from modularizer.analysis.channel_ids import Traced, along, compact
from modularizer.analysis.findings import Findings, Statistics
from modularizer.errors import PlanError

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def convolve(call: Call, findings: Findings) -> Tensor:
    """A convolution takes every input channel and makes fresh ones: its kernels.

    A grouped one is removed by whole groups: a group's inputs and kernels go together. In a
    depthwise one that is a kernel with its channel.
    """
    convolution = call.submodule
    assert isinstance(convolution, nn.Conv2d)
    taken = along(call.source.ids, 1, call.where)
    made = _made(call, findings, taken)
    if findings.decided(call.node, lambda: convolution.groups == 1):
        findings.carries(f"{call.layer}.weight", 1, taken, call.where)
    else:
        _unite_groups(call, findings, taken, made)
    findings.kernels(call.layer, made)
    return made.view(1, -1, 1, 1).expand(call.shaped.shape)


def _unite_groups(call: Call, findings: Findings, taken: Tensor, made: Tensor) -> None:
    groups = getattr(call.submodule, "groups", 0)
    inputs, kernels = findings.decided(
        f"{call.node} has groups of", lambda: (len(taken) // groups, len(made) // groups)
    )
    if len(taken) != inputs * groups or len(made) != kernels * groups:
        raise PlanError(f"{call.where}: its number of groups doesn't follow its channels")
    by_group, theirs = made.view(groups, kernels), taken.reshape(groups, inputs)
    findings.unite(by_group, by_group[:, :1], call.where)
    findings.unite(theirs, by_group[:, :1], call.where)


def multiply_matrix(call: Call, findings: Findings) -> Tensor:
    """A linear layer takes every input feature and makes fresh ones."""
    taken = along(call.source.ids, -1, call.where)
    made = _made(call, findings, taken)
    findings.carries(f"{call.layer}.weight", 1, taken, call.where)
    return made.expand(call.shaped.shape)


def _made(call: Call, findings: Findings, taken: Tensor) -> Tensor:
    """What a weighted layer makes; a layer that runs twice makes the same twice."""
    assert isinstance(call.submodule, nn.Conv2d | nn.Linear)
    if call.submodule._parameters.get("weight") is None:
        raise PlanError(
            f"{call.where}: its weight is computed from other tensors (weight norm, a "
            "parametrization); it can't be sliced"
        )
    findings.consumes(call.layer, taken, call.where)
    made = findings.made(f"{call.layer}.weight", call.submodule.weight.shape[0])
    if call.submodule.bias is not None:
        findings.carries(f"{call.layer}.bias", 0, made, call.where)
    return made


def normalise(call: Call, findings: Findings) -> Tensor:
    """Batch and instance norm: one statistic and one scale a channel."""
    assert call.submodule is not None
    if isinstance(call.submodule, _BATCH_NORMS) and call.submodule.running_mean is None:
        raise PlanError(
            f"{call.where}: keeps no running statistics, so that an image's scores depend on the "
            "other images of its batch; use track_running_stats=True"
        )
    channels = along(call.source.ids, 1, call.where)
    findings.works_on(call.node, channels)
    if isinstance(call.submodule, nn.InstanceNorm2d):
        findings.normalises(call.layer, channels, call.where)
    for name, tensor in [*call.submodule.named_parameters(), *call.submodule.named_buffers()]:
        if tensor.ndim == 1:
            findings.carries(f"{call.layer}.{name}", 0, channels, call.where)
    return call.source.ids


def activate_with_slopes(call: Call, findings: Findings) -> Tensor:
    """PReLU: one slope for all, or one a channel."""
    assert isinstance(call.submodule, nn.PReLU)
    slopes = call.submodule.weight
    if findings.decided(call.node, lambda: len(slopes) > 1):
        channels = along(call.source.ids, 1, call.where)
        findings.carries(f"{call.layer}.weight", 0, channels, call.where)
    return call.source.ids


def normalise_over_channels(call: Call, findings: Findings) -> Tensor:
    """Layer norm: its statistics are over the channels that are kept, by definition.

    One that normalises over space alone leaves each channel by itself.
    """
    if isinstance(call.submodule, nn.LayerNorm):
        width = len(call.submodule.normalized_shape)
    else:
        width = len(call.argument(1, "normalized_shape"))
    source = call.source
    sizes = compact(source.ids).shape
    changing = findings.decided(
        call.node, lambda: [dim for dim in range(-width, 0) if sizes[dim] > 1]
    )
    if not changing:
        findings.works_on(call.node, along(source.ids, 1, call.where))
        return source.ids
    if len(changing) > 1:
        raise PlanError(f"{call.where}: normalises over channels in two dimensions")
    channels = along(source.ids, changing[0], call.where)
    findings.works_on(call.node, channels)
    statistics = Statistics(channels, changing[0], tuple(range(-width, 0)))
    _affine(call, findings, statistics, weight_dims=width, at=(2, 3))
    return source.ids


def normalise_groups(call: Call, findings: Findings) -> Tensor:
    """Group norm: a single group is a layer norm, of several each is kept or removed as a whole."""
    source = call.source
    found = call.argument(1, "num_groups")
    groups = call.submodule.num_groups if isinstance(call.submodule, nn.GroupNorm) else found
    channels = along(source.ids, 1, call.where)
    findings.works_on(call.node, channels)
    size = findings.decided(call.node, lambda: len(channels) // groups if groups > 1 else None)
    if size is not None:
        if len(channels) != size * groups:
            raise PlanError(f"{call.where}: its number of groups doesn't follow its channels")
        by_group = channels.reshape(groups, size)
        findings.unite(by_group, by_group[:, :1], call.where)
    ndim = source.ids.ndim
    statistics = Statistics(channels, 1 - ndim, tuple(range(1 - ndim, 0)))
    _affine(call, findings, statistics, weight_dims=1, at=(2, 3), mixing=size is None)
    return source.ids


def _affine(
    call: Call,
    findings: Findings,
    statistics: Statistics,
    *,
    weight_dims: int,
    at: tuple[int, int],
    mixing: bool = True,
) -> None:
    """Scale and shift go with their channels; the norm is noted by its name or its weight's."""
    dim = weight_dims + statistics.dim if weight_dims > 1 else 0
    if call.submodule is not None:
        for name, _ in call.submodule.named_parameters():
            findings.carries(f"{call.layer}.{name}", dim, statistics.ids, call.where)
        if mixing:
            findings.mixes(call.layer, statistics)
        return
    shape = [-1 if d == dim else 1 for d in range(weight_dims)]
    given = [call.argument(at[0], "weight"), call.argument(at[1], "bias")]
    for tensor in given:
        if isinstance(tensor, Traced):
            findings.unite(
                tensor.ids, statistics.ids.view(shape).expand(tensor.ids.shape), call.where
            )
    if mixing:
        if not (isinstance(given[0], Traced) and given[0].name):
            raise PlanError(
                f"{call.where}: has no weight of its own to be told by; use nn.LayerNorm or "
                "nn.GroupNorm"
            )
        findings.mixes(given[0].name, statistics)
