"""A network with the same structure and other tensors, without copying what stays."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def rebuilt(network: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The same layers around other tensors; the given network is left as it is.

    Sizes that layers keep as attributes follow their tensors, and a layer that is there under
    two names stays one. Cheaper than a deep copy by the size of the weights: this is what
    decoding a candidate costs beside its ``index_select``.

    Args:
        network: whose structure to take.
        tensors: parameter and buffer name -> tensor, for all of them, by the first name of each.
    """
    return _rebuilt(network, tensors, "", {})


def _rebuilt(
    network: nn.Module, tensors: Mapping[str, Tensor], prefix: str, done: dict[int, nn.Module]
) -> nn.Module:
    if id(network) in done:
        return done[id(network)]
    new = done[id(network)] = _shallow_copy(network)
    for name, value in new.__dict__.items():
        if isinstance(value, dict):  # parameters, submodules, hooks: the copy gets its own
            new.__dict__[name] = value.copy()
    for name, parameter in network._parameters.items():
        if parameter is not None:
            new._parameters[name] = nn.Parameter(tensors[prefix + name], requires_grad=False)
    for name, buffer in network._buffers.items():
        if buffer is not None:
            new._buffers[name] = tensors[prefix + name]
    for name, child in network._modules.items():
        if child is not None:
            new._modules[name] = _rebuilt(child, tensors, f"{prefix}{name}.", done)
    _follow_tensors(new)
    return new


def _shallow_copy(layer: nn.Module) -> nn.Module:
    new = object.__new__(type(layer))  # graph modules and parametrizations have other ideas of one
    new.__dict__ = layer.__dict__.copy()
    return new


def _follow_tensors(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        if layer.groups > 1:  # whole groups of the same size
            layer.groups = layer.weight.shape[0] * layer.groups // layer.out_channels
        layer.out_channels = layer.weight.shape[0]
        layer.in_channels = layer.weight.shape[1] * layer.groups
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.InstanceNorm2d):
        statistic = next(iter([*layer.parameters(), *layer.buffers()]), None)
        if statistic is not None and statistic.ndim:
            layer.num_features = len(statistic)
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)
    elif isinstance(layer, nn.LayerNorm) and layer.elementwise_affine:
        layer.normalized_shape = tuple(layer.weight.shape)
    elif isinstance(layer, nn.GroupNorm) and layer.affine:
        _follow_groups(layer)


def _follow_groups(layer: nn.GroupNorm) -> None:
    channels = layer.num_channels
    layer.num_channels = len(layer.weight)
    if layer.num_groups > 1:  # whole groups of the same size
        layer.num_groups = layer.num_channels * layer.num_groups // channels
