"""Building and tracing networks on ``meta`` without importing torch's compiler for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_DRAWS = (Tensor.normal_, Tensor.uniform_)
_SAME_SHAPE = (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.batch_norm)

_SCHEDULES = (torch.arange, torch.linspace, torch.tensor)
_SUMS = (torch.add, Tensor.add, Tensor.__add__)


class ShapesOnly(TorchFunctionMode):
    """While active, some operations on ``meta`` give a right shape and no more.

    Torch does these in Python on ``meta`` (draws, ReLU, batch norm, sums, convolutions, linear
    layers), and imports its compiler or sympy at the first of them: 2-6 s in a process that only
    wants to load or slice a model. Other operations that torch does so still work, at that cost.

    Tensors made of given values (`torch.tensor`, `torch.arange`, `torch.linspace`) are made on the
    CPU whatever the device: builders read widths and rates from them.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Answer for those; pass all else on."""
        if args and isinstance(args[0], Tensor) and args[0].is_meta:
            if func is F.linear:
                return _linear(*args, **(kwargs or {}))
            if func in _WINDOWED:
                found = _WINDOWED[func](*args, **(kwargs or {}))
                if found is not None:
                    return found
            if func in _DRAWS:
                return args[0]
            if func in _SUMS:
                return _sum(*args, **(kwargs or {}))
            if func in _SAME_SHAPE:
                return args[0].new_empty(args[0].shape)
        if func in _SCHEDULES:
            return func(*args, **{"device": "cpu", **(kwargs or {})})
        return func(*args, **(kwargs or {}))


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if x.shape[-1] != weight.shape[1]:
        raise RuntimeError(f"a linear layer takes {weight.shape[1]} values, found {x.shape[-1]}")
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


def _conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor | None:
    """The shape that a convolution gives; None for what is left to torch."""
    if isinstance(padding, str) or x.ndim != 4 or weight.ndim != 4:
        return None
    if x.shape[1] != weight.shape[1] * groups:
        raise RuntimeError(
            f"a convolution takes {weight.shape[1] * groups} channels, found {x.shape[1]}"
        )
    sides = _slid(x, tuple(weight.shape[2:]), stride, padding, dilation)
    return x.new_empty((x.shape[0], weight.shape[0], *sides))


def _max_pool2d(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | None:
    """The shape that pooling gives; None for what is left to torch."""
    if ceil_mode or return_indices or x.ndim != 4:
        return None
    sides = _slid(x, _pair(kernel_size), stride or kernel_size, padding, dilation)
    return x.new_empty((*x.shape[:2], *sides))


def _avg_pool2d(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    *_: Any,
    **__: Any,
) -> Tensor | None:
    return _max_pool2d(x, kernel_size, stride, padding, ceil_mode=ceil_mode)


def _slid(
    x: Tensor,
    kernel: tuple[int, ...],
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
) -> list[int]:
    """How often a window fits into height and width, as torch's documentation of Conv2d has it."""
    sides = [
        (length + 2 * pad - step * (size - 1) - 1) // stride_ + 1
        for length, size, stride_, pad, step in zip(
            x.shape[2:], kernel, *map(_pair, (stride, padding, dilation)), strict=True
        )
    ]
    if min(sides) < 1:
        raise RuntimeError(f"a window of {kernel} doesn't fit into {tuple(x.shape)}")
    return sides


_WINDOWED: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    F.conv2d: _conv2d,
    F.max_pool2d: _max_pool2d,
    F.avg_pool2d: _avg_pool2d,
}


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])


def _sum(x: Tensor, other: Tensor | float, **_: Any) -> Tensor:
    shape = other.shape if isinstance(other, Tensor) else ()
    return x.new_empty(np.broadcast_shapes(tuple(x.shape), tuple(shape)))
