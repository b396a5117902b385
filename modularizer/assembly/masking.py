"""The whole network with channels masked: what a decoded network must equal."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from modularizer.analysis.plan import Mixing, SlicingPlan
from modularizer.classifier import inference
from modularizer.devices import arithmetic
from modularizer.errors import DecodeError


@contextmanager
def masked(network: nn.Module, plan: SlicingPlan, kept: Tensor) -> Iterator[None]:
    """Within this context removed channels are zero at the input of every layer that takes them.

    That, and not a zero at a convolution's output, is what slicing equals: batch norms and
    activations in between may turn a zero into something else. A layer norm, and a group norm of
    a single group, takes its statistics over the channels that are kept: that is what removing
    means there.

    Args:
        network: the whole network; its hooks are removed again on the way out.
        plan: its slicing plan.
        kept: bool (plan.channels,).
    """
    plan.alive(kept, output=None)
    with gated(network, plan, kept[None].float()):
        yield


@contextmanager
def gated(network: nn.Module, plan: SlicingPlan, gates: Tensor) -> Iterator[None]:
    """Within this context channels are multiplied by gates at the input of every consumer.

    With gates of 0 and 1 this is `masked`; gates in between, and gradients through them, are
    what a search by gradients needs. Several rows of gates run side by side: of a batch of
    ``rows * n`` images the first ``n`` pass through the first row's gates, and so on. Norms over
    channels weigh each by its gate, in mean and variance.

    Args:
        network: the whole network; its hooks are removed again on the way out.
        plan: its slicing plan.
        gates: float (rows, plan.channels); gradients flow into them.
    """
    factors = torch.cat([gates, gates.new_ones(len(gates), 1 + plan.outputs)], dim=1)
    handles = []
    for name, entries in plan.consumers.items():
        if bool((entries >= plan.channels).all()):
            continue  # nothing that it takes in can be removed
        layer = network.get_submodule(name)
        factor = factors[:, entries.to(factors.device)]
        hook = partial(_scale_input, factor, 1 if isinstance(layer, nn.Conv2d) else -1)
        handles.append(layer.register_forward_pre_hook(hook, with_kwargs=True))
    layers = dict(network.named_modules())
    tensors = dict(network.named_parameters())
    by_weight: dict[int, _Weighting] = {}
    for name, mixing in plan.mixing.items():
        weighting = _Weighting(factors[:, mixing.entries.to(factors.device)], mixing)
        if name in layers:
            handles.append(layers[name].register_forward_hook(weighting.again, with_kwargs=True))
        else:
            by_weight[id(tensors[name])] = weighting
    try:
        with _WeightedFunctions(by_weight) if by_weight else nullcontext():
            yield
    finally:
        for handle in handles:
            handle.remove()


def _scale_input(
    factor: Tensor, dim: int, _: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    given = _input(args, kwargs)
    scaled = _by_row(given, len(factor)) * _shaped(factor, given, dim)
    return (scaled.flatten(0, 1),), {}


def _input(args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> Tensor:
    """What a layer is called on: its one argument."""
    given: Tensor = (*args, *kwargs.values())[0]
    return given


def _by_row(x: Tensor, rows: int) -> Tensor:
    """(rows * n, ...) to (rows, n, ...)."""
    rows_of_images: Tensor = x.unflatten(0, (rows, -1))
    return rows_of_images


def _shaped(factor: Tensor, x: Tensor, dim: int) -> Tensor:
    """A factor (rows, C) in a shape that broadcasts against ``x`` by row, C along its ``dim``."""
    shape = [1] * (x.ndim + 1)
    shape[0], shape[1 + dim if dim > 0 else dim] = factor.shape
    return factor.to(x.device, x.dtype).view(shape)


@dataclass(frozen=True)
class _Weighting:
    """A norm's statistics, weighted by gates.

    Attributes:
        factor: float (rows, C), the gate of each channel.
        mixing: how the norm mixes channels.
    """

    factor: Tensor
    mixing: Mixing

    def again(
        self, layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any], _: Tensor
    ) -> Tensor:
        """What a layer or group norm gives with these weights, as a forward hook."""
        assert isinstance(layer, nn.LayerNorm | nn.GroupNorm)
        return self.normalised(_input(args, kwargs), layer.weight, layer.bias, layer.eps)

    def normalised(
        self, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        """``x`` less its mean, by its deviation, with each channel counted by its gate."""
        by_row = _by_row(x, len(self.factor))
        gate = _shaped(self.factor, x, self.mixing.dim)
        dims = self.mixing.dims
        places = math.prod(x.shape[dim] for dim in dims if dim != self.mixing.dim)
        total = gate.sum(dim=self.mixing.dim, keepdim=True).clamp_min(1e-12) * places
        mean = (gate * by_row).sum(dims, keepdim=True) / total
        variance = (gate * (by_row - mean).square()).sum(dims, keepdim=True) / total
        made = ((by_row - mean) * (variance + eps).rsqrt()).flatten(0, 1)
        for tensor, operation in ((weight, torch.mul), (bias, torch.add)):
            if tensor is not None:
                made = operation(made, self._placed(tensor))
        return made

    def _placed(self, tensor: Tensor) -> Tensor:
        """A scale or shift in a shape that broadcasts: of each channel, or of each element."""
        if tensor.ndim == len(self.mixing.dims):
            return tensor
        return tensor.view([-1 if dim == self.mixing.dim else 1 for dim in self.mixing.dims])


class _WeightedFunctions(TorchFunctionMode):
    """While active, norms that are called as functions are weighted, told by their weight."""

    def __init__(self, by_weight: Mapping[int, _Weighting]) -> None:
        super().__init__()
        self.by_weight = by_weight

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Answer for those; pass all else on."""
        if func not in (F.layer_norm, F.group_norm):
            return func(*args, **(kwargs or {}))
        given = inspect.signature(func).bind(*args, **(kwargs or {}))
        given.apply_defaults()
        x, _, weight, bias, eps = given.arguments.values()
        weighting = self.by_weight.get(id(weight))
        if weighting is None:
            return func(*args, **(kwargs or {}))
        return weighting.normalised(x, weight, bias, eps)


def verify_decoded(
    decoded: nn.Module,
    network: nn.Module,
    plan: SlicingPlan,
    kept: Tensor,
    *,
    output: int,
    images: Tensor,
    tolerance: float = 1e-4,
) -> float:
    """Check a decoded network against the masked whole one, so that a wrong one is never kept.

    Args:
        decoded: the sliced network with one output.
        network: the whole network.
        plan: its slicing plan.
        kept: bool (plan.channels,).
        output: which score ``decoded`` gives.
        images: prepared images, float (N, C, H, W).
        tolerance: largest difference allowed, as a share of the largest score (float32 sums in
            another order differ by some 1e-6 of it).

    Returns:
        The largest difference, as a share of the masked network's largest score of ``output``;
        of the whole network's largest score where the mask leaves nothing but zeros.

    Raises:
        DecodeError: if the decoded network fails or gives another shape than (N, 1), or a score
            is not finite or differs by more than ``tolerance``.
    """
    with arithmetic("float32"), inference(network), inference(decoded):
        with masked(network, plan, kept):
            expected = network(images)[:, output]
        if not torch.isfinite(expected).all():
            raise DecodeError("the masked network gives scores that are not finite")
        found = _single_score(decoded, images)
        scale = float(expected.abs().max()) or float(network(images).abs().max())
    largest = float((found - expected).abs().max())
    difference = largest / scale if scale else largest
    if not difference <= tolerance:
        raise DecodeError(
            f"decoded and masked scores differ by {difference:.2e} of the largest score, "
            f"more than {tolerance:.0e}: the slicing plan is wrong for this network"
        )
    return difference


def _single_score(decoded: nn.Module, images: Tensor) -> Tensor:
    """What a network of one score gives, (N,); a `DecodeError` if it is none."""
    try:
        found = decoded(images)
    except Exception as error:  # whatever its code raises on other sizes than it was written for
        raise DecodeError(
            f"the decoded network fails where the whole one runs: {error}. A size written "
            "into the network's code (a view to a fixed width) can't follow the slicing"
        ) from error
    if not isinstance(found, Tensor) or found.shape != (len(images), 1):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise DecodeError(
            f"the decoded network must give one score an image, ({len(images)}, 1); found {shape}"
        )
    return found[:, 0]
