"""What each operation does to channel ids; an operation without a rule is refused."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modularizer.analysis.channel_ids import ChannelIds, Traced, along
from modularizer.errors import PlanError


@dataclass
class Findings:
    """What the rules write down while the network is walked through.

    Attributes:
        ids: every channel id so far.
        tensors: (tensor name, dimension) -> ids along it.
        consumers: layer name -> ids of its input's channels or features.
        kernels: convolution name -> ids of its kernels.
    """

    ids: ChannelIds = field(default_factory=ChannelIds)
    tensors: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    consumers: dict[str, Tensor] = field(default_factory=dict)
    kernels: dict[str, Tensor] = field(default_factory=dict)

    def carries(self, tensor: str, dim: int, ids: Tensor) -> None:
        """Note that a tensor's dimension carries these ids; a second note unites both."""
        known = self.tensors.setdefault((tensor, dim), ids)
        self.ids.unite(known, ids)

    def consumes(self, layer: str, ids: Tensor) -> None:
        """Note what a convolution or linear layer takes in."""
        known = self.consumers.setdefault(layer, ids)
        self.ids.unite(known, ids)


@dataclass(frozen=True)
class Call:
    """One operation of the traced network.

    Attributes:
        where: how to name it in a message.
        layer: the submodule's name, empty for functions and methods.
        submodule: the submodule, None for functions and methods.
        target: the function or method name, None for submodules.
        args: positional arguments, activations as `Traced`.
        kwargs: keyword arguments, likewise.
        value: what the operation gives, on ``meta``.
    """

    where: str
    layer: str
    submodule: nn.Module | None
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    value: Tensor

    @property
    def source(self) -> Traced:
        """The activation that the operation works on: its first argument."""
        first = self.args[0] if self.args else self.kwargs.get("input")
        if not isinstance(first, Traced):
            raise PlanError(f"{self.where}: its first argument is not an activation")
        return first


Rule = Callable[[Call, Findings], Tensor]


def keep(call: Call, findings: Findings) -> Tensor:
    """Element by element: ids stay where they are."""
    return call.source.ids


def pool(call: Call, findings: Findings) -> Tensor:
    """Over space, channel by channel: ids follow the channel dimension."""
    channels = along(call.source.ids, 1, call.where)
    shape = (1, -1) + (1,) * (call.value.ndim - 2)
    return channels.view(shape).expand(call.value.shape)


def normalise(call: Call, findings: Findings) -> Tensor:
    """Batch norm: one statistic and one scale a channel."""
    assert call.submodule is not None
    channels = along(call.source.ids, 1, call.where)
    for name, tensor in [*call.submodule.named_parameters(), *call.submodule.named_buffers()]:
        if tensor.ndim == 1:
            findings.carries(f"{call.layer}.{name}", 0, channels)
    return call.source.ids


def convolve(call: Call, findings: Findings) -> Tensor:
    """A convolution takes every input channel and makes fresh ones: its kernels."""
    assert isinstance(call.submodule, nn.Conv2d)
    if call.submodule.groups != 1:
        raise PlanError(f"{call.where}: grouped convolutions can't be sliced yet")
    made = _weighted_layer(call, findings, along(call.source.ids, 1, call.where))
    findings.kernels[call.layer] = made
    return made.view(1, -1, 1, 1).expand(call.value.shape)


def multiply_matrix(call: Call, findings: Findings) -> Tensor:
    """A linear layer takes every input feature and makes fresh ones."""
    assert isinstance(call.submodule, nn.Linear)
    made = _weighted_layer(call, findings, along(call.source.ids, -1, call.where))
    return made.expand(call.value.shape)


def _weighted_layer(call: Call, findings: Findings, taken: Tensor) -> Tensor:
    assert isinstance(call.submodule, nn.Conv2d | nn.Linear)
    weight = f"{call.layer}.weight"
    findings.consumes(call.layer, taken)
    findings.carries(weight, 1, taken)
    made = findings.tensors.get((weight, 0))  # a layer that runs twice has its kernels once
    if made is None:
        made = findings.ids.fresh(call.submodule.weight.shape[0])
        findings.carries(weight, 0, made)
        if call.submodule.bias is not None:
            findings.carries(f"{call.layer}.bias", 0, made)
    return made


def unite(call: Call, findings: Findings) -> Tensor:
    """Addition or multiplication of two activations: what meets goes together."""
    given = (*call.args, *call.kwargs.values())
    operands = [arg for arg in given if isinstance(arg, Traced)]
    if any(isinstance(arg, Tensor) for arg in given):
        raise PlanError(f"{call.where}: a bare tensor meets an activation; wrap it in a layer")
    if len(operands) == 2:
        findings.ids.unite(operands[0].ids, operands[1].ids)
    largest = max(operands, key=lambda operand: operand.ids.numel())
    return largest.ids.expand(call.value.shape)


def reshape(call: Call, findings: Findings) -> Tensor:
    """Flatten, view, permute, ...: ids move as the values do."""
    args = [_ids_of(arg) for arg in call.args]
    kwargs = {name: _ids_of(arg) for name, arg in call.kwargs.items()}
    if call.submodule is not None:
        moved = call.submodule(*args, **kwargs)
    elif isinstance(call.target, str):
        moved = getattr(args[0], call.target)(*args[1:], **kwargs)
    else:
        moved = call.target(*args, **kwargs)
    assert isinstance(moved, Tensor)
    return moved


def average(call: Call, findings: Findings) -> Tensor:
    """A mean over dimensions within which all values are of one channel."""
    dims = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim")
    keepdim = call.args[2] if len(call.args) > 2 else call.kwargs.get("keepdim", False)
    if dims is None:
        raise PlanError(f"{call.where}: a mean over everything mixes channels")
    low = call.source.ids.amin(dims, keepdim=keepdim)
    if not torch.equal(low, call.source.ids.amax(dims, keepdim=keepdim)):
        raise PlanError(f"{call.where}: a mean over dimension {dims} mixes channels")
    return low


def _ids_of(argument: Any) -> Any:
    if isinstance(argument, Traced):
        return argument.ids.contiguous()  # as the activation is: a view needs it
    if isinstance(argument, list | tuple):
        return type(argument)(_ids_of(item) for item in argument)
    return argument


_ACTIVATIONS: tuple[Any, ...] = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Sigmoid, nn.Tanh),
    *(nn.Hardswish, nn.Hardsigmoid),
    *(torch.relu, torch.sigmoid, torch.tanh, F.relu, F.relu6, F.leaky_relu, F.elu, F.silu),
    *(F.gelu, F.hardswish, F.hardsigmoid, "relu", "relu_", "sigmoid", "tanh"),
)
_ADDITIONS: tuple[Any, ...] = (operator.add, operator.iadd, torch.add, "add", "add_")

RULES: dict[Any, Rule] = {
    nn.Conv2d: convolve,
    nn.Linear: multiply_matrix,
    nn.BatchNorm2d: normalise,
    **dict.fromkeys(_ACTIVATIONS, keep),
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout2d, F.dropout, "contiguous"), keep),
    **dict.fromkeys(_ADDITIONS, unite),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul", "mul_"), unite),
    **dict.fromkeys((nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d), pool),
    **dict.fromkeys((F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d), pool),
    **dict.fromkeys((nn.Flatten, torch.flatten, torch.cat, torch.permute), reshape),
    **dict.fromkeys(("flatten", "view", "reshape", "permute", "transpose", "squeeze"), reshape),
    **dict.fromkeys((torch.mean, "mean"), average),
}
"""Submodule type, function or method name -> rule."""

IMPORTANCE_IS_READ_AFTER: frozenset[Any] = frozenset(
    {nn.Conv2d, nn.BatchNorm2d, *_ACTIVATIONS, *_ADDITIONS}
)
"""Operations after which a feature map still has the size at which its segment made it."""
