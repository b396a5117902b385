"""What removing kernels means, found by perturbing the whole network: no slicing plan needed.

The oracle marks the feature maps of kernels with NaN and looks where NaN arrives at the input of
a convolution, a linear layer or a norm over channels, where it is replaced by zero so that it
goes no further (a norm passes the mark on, channel by channel). That shows which inputs depend
directly on which kernel, and therefore what removing it means: those inputs are zero, and norms
over channels take their statistics over the others. Of a grouped convolution, a group's inputs
and kernels go together by definition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Kernel = tuple[str, int]
Taken = tuple[str, int]


@dataclass(frozen=True)
class Dependence:
    """What the oracle saw.

    Attributes:
        together: sets of kernels of which any two share an input that depends on both.
        inputs: for each of these sets the (layer, channel or feature) that depend on it.
    """

    together: list[frozenset[Kernel]]
    inputs: list[frozenset[Taken]]


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network in float64 with random parameters, biases and batch-norm statistics too.

    Weights of millions keep what their layer drew for them.
    """
    generator = torch.Generator().manual_seed(seed)
    network = network.double().eval()
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.is_floating_point() and tensor.numel() < 2_000_000:
                fan = max(tensor[0].numel(), 1) if tensor.ndim > 1 else 1
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / fan**0.5)
    return network


def pixels(shape: Sequence[int], count: int = 3, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, *shape), generator=generator, dtype=torch.float64)


def mixes_channels(layer: nn.Module) -> bool:
    """Whether it is a norm that takes statistics over all channels."""
    return (isinstance(layer, nn.LayerNorm) and not getattr(layer, "over_space", False)) or (
        isinstance(layer, nn.GroupNorm) and layer.num_groups == 1
    )


def channels_first(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer's input with its channel (or feature) dimension as dimension 1; a view."""
    last = isinstance(layer, nn.Linear) or (
        type(layer) is nn.LayerNorm and len(layer.normalized_shape) == 1
    )
    return x.movedim(-1, 1) if last else x


def is_consumer(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d | nn.Linear) or mixes_channels(layer)


@contextmanager
def hooked(handles: list[torch.utils.hooks.RemovableHandle]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def watching_inputs(network: nn.Module, seen: dict[str, Tensor]) -> Iterator[None]:
    """Note which images' channels arrive as NaN at each layer, and let zeros in instead."""
    handles = []
    for name, layer in network.named_modules():
        if not is_consumer(layer):
            continue
        broken: list[Tensor] = []

        def look(
            layer: nn.Module,
            args: tuple[Tensor, ...],
            name: str = name,
            broken: list[Tensor] = broken,
        ) -> tuple[Tensor, ...]:
            (x,) = args
            found = channels_first(layer, x.isnan())
            found = found.flatten(2).any(dim=2) if found.ndim > 2 else found
            seen[name] = found | seen[name] if name in seen else found
            broken.append(found)
            return (x.nan_to_num(nan=0.0),)

        def pass_on(
            layer: nn.Module,
            args: tuple[Tensor, ...],
            made: Tensor,
            broken: list[Tensor] = broken,
        ) -> Tensor:
            made = made.clone()
            channels_first(layer, made)[broken[-1]] = torch.nan
            return made

        handles.append(layer.register_forward_pre_hook(look))
        if mixes_channels(layer):
            handles.append(layer.register_forward_hook(pass_on))
    with hooked(handles):
        yield


def group_of(convolution: nn.Conv2d, name: str, kernel: int) -> set[Taken]:
    """The inputs that go with a kernel of a grouped convolution."""
    if convolution.groups == 1:
        return set()
    size = convolution.in_channels // convolution.groups
    group = kernel * convolution.groups // convolution.out_channels
    return {(name, position) for position in range(group * size, (group + 1) * size)}


def reached_by(network: nn.Module, layer: str, shape: Sequence[int]) -> list[set[Taken]]:
    """For each kernel of a layer which inputs, outputs among them, depend directly on it.

    One image a kernel, each with the feature map of its own kernel NaN.
    """
    convolution = network.get_submodule(layer)
    assert isinstance(convolution, nn.Conv2d)
    kernels = range(convolution.out_channels)

    def mark(_: nn.Module, args: tuple[Tensor, ...], made: Tensor) -> Tensor:
        made = made.clone()
        for kernel in kernels:
            made[kernel, kernel] = torch.nan
        return made

    seen: dict[str, Tensor] = {}
    marked = hooked([convolution.register_forward_hook(mark)])
    with torch.no_grad(), watching_inputs(network, seen), marked:
        seen["output"] = network(pixels(shape, 1).expand(len(kernels), *shape)).isnan()
    return [
        group_of(convolution, layer, kernel)
        | {(name, int(i)) for name, rows in seen.items() for i in rows[kernel].nonzero().flatten()}
        for kernel in kernels
    ]


def reached_by_input(network: nn.Module, shape: Sequence[int]) -> set[Taken]:
    seen: dict[str, Tensor] = {}
    with torch.no_grad(), watching_inputs(network, seen):
        network(torch.full((1, *shape), torch.nan, dtype=torch.float64))
    return {(name, int(i)) for name, rows in seen.items() for i in rows[0].nonzero().flatten()}


def dependence(network: nn.Module, shape: Sequence[int]) -> Dependence:
    """Kernels that can be removed, together with those that have to go with them."""
    fixed = reached_by_input(network, shape)
    groups: list[tuple[set[Kernel], set[Taken]]] = []
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        for kernel, inputs in enumerate(reached_by(network, name, shape)):
            joined: tuple[set[Kernel], set[Taken]] = ({(name, kernel)}, set(inputs))
            for group in [group for group in groups if group[1] & inputs]:
                groups.remove(group)
                joined = (joined[0] | group[0], joined[1] | group[1])
            groups.append(joined)
    # The first layer takes the image alone; elsewhere a channel that the image reaches stays.
    removable = [
        (kernels, inputs)
        for kernels, inputs in groups
        if not inputs & fixed and not any(name == "output" for name, _ in inputs)
    ]
    return Dependence(
        [frozenset(kernels) for kernels, _ in removable],
        [frozenset(inputs) for _, inputs in removable],
    )


def reached_by_all(network: nn.Module, kernels: Iterable[Kernel], image: Tensor) -> set[Taken]:
    """The inputs that depend directly on any of these kernels: one run, all of them NaN.

    Args:
        network: the whole network.
        kernels: (convolution, kernel).
        image: (1, C, H, W).
    """
    by_layer: dict[str, list[int]] = {}
    for layer, kernel in kernels:
        by_layer.setdefault(layer, []).append(kernel)

    def marking(marked: list[int]) -> Callable[..., Tensor]:
        def mark(_: nn.Module, args: tuple[Tensor, ...], made: Tensor) -> Tensor:
            return made.index_fill(1, torch.tensor(marked), torch.nan)

        return mark

    seen: dict[str, Tensor] = {}
    handles = [
        network.get_submodule(layer).register_forward_hook(marking(marked))
        for layer, marked in by_layer.items()
    ]
    with torch.no_grad(), hooked(handles), watching_inputs(network, seen):
        assert not network(image).isnan().any()
    return {(name, int(i)) for name, rows in seen.items() for i in rows[0].nonzero().flatten()}


@contextmanager
def without(network: nn.Module, removed: Iterable[Taken]) -> Iterator[None]:
    """Within this context the given inputs are zero, and norms are over the others."""
    gone: dict[str, list[int]] = {}
    for name, position in sorted(removed):
        gone.setdefault(name, []).append(position)
    handles = []
    for name, positions in gone.items():
        layer = network.get_submodule(name)

        def hide(
            layer: nn.Module, args: tuple[Tensor, ...], positions: list[int] = positions
        ) -> tuple[Tensor, ...]:
            x = args[0].clone()
            channels_first(layer, x)[:, positions] = 0
            return (x,)

        def renormalise(
            layer: nn.Module,
            args: tuple[Tensor, ...],
            made: Tensor,
            positions: list[int] = positions,
        ) -> Tensor:
            return normalised_over_others(layer, args[0], made, positions)

        if mixes_channels(layer):
            handles.append(layer.register_forward_hook(renormalise))
        else:
            handles.append(layer.register_forward_pre_hook(hide))
    with hooked(handles):
        yield


def normalised_over_others(
    layer: nn.Module, x: Tensor, made: Tensor, positions: list[int]
) -> Tensor:
    """What a norm over channels gives when its statistics leave some channels out."""
    assert isinstance(layer, nn.LayerNorm | nn.GroupNorm)
    left = torch.tensor([c for c in range(channels_first(layer, x).shape[1]) if c not in positions])
    taken = channels_first(layer, x)[:, left]
    over_space = isinstance(layer, nn.GroupNorm) or len(layer.normalized_shape) > 1
    dims = tuple(range(1, taken.ndim)) if over_space else (1,)
    mean = taken.mean(dims, keepdim=True)
    variance = taken.var(dims, correction=0, keepdim=True)
    normal = (taken - mean) / (variance + layer.eps).sqrt()
    for tensor, operation in ((layer.weight, torch.mul), (layer.bias, torch.add)):
        if tensor is not None:
            kept = tensor[left]
            shape = (-1, *[1] * (taken.ndim - 2)) if kept.ndim == 1 else kept.shape
            normal = operation(normal, kept.view(shape))
    made = torch.full_like(made, torch.nan)
    channels_first(layer, made)[:, left] = normal
    channels_first(layer, made)[:, positions] = 0
    return made
