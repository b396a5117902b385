"""Building and tracing networks on ``meta`` without importing torch's compiler for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

    Torch does these in Python on ``meta`` (draws, ReLU, batch norm, sums, linear layers), and
    imports its compiler at the first of them: 4-6 s in a process that only wants to load or
    slice a model. Other operations that torch does so still work, at that cost.

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
            if func in _DRAWS:
                return args[0]
            if func in _SUMS:
                return _sum(*args, **(kwargs or {}))
            if func in _SAME_SHAPE:
                return torch.empty_like(args[0])
        if func in _SCHEDULES:
            return func(*args, **{"device": "cpu", **(kwargs or {})})
        return func(*args, **(kwargs or {}))


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if x.shape[-1] != weight.shape[1]:
        raise RuntimeError(f"a linear layer takes {weight.shape[1]} values, found {x.shape[-1]}")
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


def _sum(x: Tensor, other: Tensor | float, **_: Any) -> Tensor:
    shape = other.shape if isinstance(other, Tensor) else ()
    return x.new_empty(torch.broadcast_shapes(x.shape, shape))
