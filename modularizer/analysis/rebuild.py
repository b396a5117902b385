"""A network with the same structure and other tensors, without copying what stays."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, nn


def rebuilt(network: nn.Module, tensors: Mapping[str, Tensor], *, prefix: str = "") -> nn.Module:
    """The same layers around other tensors; the given network is left as it is.

    Sizes that layers keep as attributes follow their tensors. Cheaper than a deep copy by the
    size of the weights: this is what decoding a candidate costs beside its ``index_select``.

    Args:
        network: whose structure to take.
        tensors: parameter and buffer name -> tensor, for all of them.
        prefix: of ``network``'s own names in ``tensors``.
    """
    new = copy.copy(network)
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
            new._modules[name] = rebuilt(child, tensors, prefix=f"{prefix}{name}.")
    _follow_tensors(new)
    return new


def _follow_tensors(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        layer.out_channels, layer.in_channels = layer.weight.shape[:2]
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.BatchNorm2d):
        statistic = next(iter([*layer.parameters(), *layer.buffers()]), None)
        if statistic is not None and statistic.ndim:
            layer.num_features = len(statistic)
