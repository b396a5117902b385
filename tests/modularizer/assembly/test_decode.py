"""Decoding against an oracle that knows nothing of the slicing plan.

The oracle marks the feature maps of one kernel with NaN and looks where NaN arrives at the input
of a convolution or a linear layer, where it is replaced by zero so that it goes no further. That
shows which inputs depend directly on which kernel, and therefore what removing it means.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.rescnn import rescnn, simple_rescnn
from modularizer.architectures.simcnn import simcnn, simple_simcnn
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.decode import class_module_skeleton, decode
from modularizer.assembly.masking import masked
from modularizer.errors import DecodeError
from modularizer.preprocessing import Preprocessing

Kernel = tuple[str, int]
Taken = tuple[str, int]


class NonSquare(nn.Module):
    """Functional throughout; flattens maps of 2 x 3 pixels; batch norm before the activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.second = nn.Conv2d(5, 4, (3, 1), stride=(1, 1), padding=(1, 0), bias=False)
        self.hidden = nn.Linear(4 * 2 * 3, 6)
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.hardswish(self.norm(self.first(x)))
        x = nn.functional.max_pool2d(torch.sigmoid(self.second(x)), 2)
        x = nn.functional.avg_pool2d(x, 2)
        x = x.view(x.size(0), -1)
        scores: Tensor = self.out(torch.tanh(self.hidden(x)))
        return scores


class PreActivation(nn.Module):
    """Batch norms before convolutions, a skip around them, a mean over space as the head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.norm_1 = nn.BatchNorm2d(4)
        self.conv_1 = nn.Conv2d(4, 6, 3, padding=1)
        self.norm_2 = nn.BatchNorm2d(6)
        self.conv_2 = nn.Conv2d(6, 4, 3, padding=1)
        self.norm_3 = nn.BatchNorm2d(4)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.conv_2(self.norm_2(self.conv_1(self.norm_1(x).relu())).relu())
        scores: Tensor = self.out(self.norm_3(x).relu().mean((2, 3)))
        return scores


class Joined(nn.Module):
    """Concatenation, then an addition that couples both parts with a third convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 2, 3, padding=1)
        self.right = nn.Conv2d(3, 3, 3, padding=1)
        self.middle = nn.Conv2d(3, 4, 1)
        self.third = nn.Conv2d(4, 5, 3, padding=1)
        self.out = nn.Linear(5 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.left(x), self.right(x)], dim=1)
        total = (both + self.third(self.middle(x).relu())).relu()
        scores: Tensor = self.out(torch.flatten(total, 1))
        return scores


class Squeezed(nn.Module):
    """Squeeze and excitation by linear layers; a convolution as the head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.down = nn.Linear(6, 2)
        self.up = nn.Linear(2, 6)
        self.head = nn.Conv2d(6, 3, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        gate = torch.sigmoid(self.up(self.down(self.pool(x).flatten(1)).relu()))
        x = x * gate.view(gate.size(0), -1, 1, 1)
        scores: Tensor = self.pool(self.head(x)).flatten(1)
        return scores


class AddsInput(nn.Module):
    """A convolution whose maps are added to the image can't lose a kernel; the next one can."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(3, 3, 3, padding=1)
        self.free = nn.Conv2d(3, 4, 3, padding=1)
        self.out = nn.Linear(4 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.free(x + self.same(x)).relu().flatten(1))
        return scores


class RunsTwice(nn.Module):
    """One convolution applied twice in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.out = nn.Linear(4 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.again(self.stem(x).relu()).relu()).relu()
        scores: Tensor = self.out(x.flatten(1))
        return scores


def simcnn_tiny(channels: int, *, batch_norm: bool) -> nn.Module:
    return simcnn(
        3,
        stages=((4, 3), (5,), (6,)),
        hidden=(7, 5),
        in_channels=channels,
        input_size=16,
        batch_norm=batch_norm,
    )


def rescnn_tiny(channels: int, size: int, *, batch_norm: bool) -> nn.Module:
    return rescnn(
        3,
        width_multiplier=1 / 80,
        in_channels=channels,
        input_size=size,
        batch_norm=batch_norm,
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "simcnn": (lambda: simcnn_tiny(3, batch_norm=False), (3, 16, 16)),
    "simcnn_grey_batch_norm": (lambda: simcnn_tiny(1, batch_norm=True), (1, 16, 16)),
    "rescnn": (lambda: rescnn_tiny(3, 32, batch_norm=False), (3, 32, 32)),
    "rescnn_batch_norm": (lambda: rescnn_tiny(3, 32, batch_norm=True), (3, 32, 32)),
    "rescnn_wide_flatten": (lambda: rescnn_tiny(1, 64, batch_norm=True), (1, 64, 64)),
    "simple_simcnn": (lambda: simple_simcnn(3, widths=(5, 4), input_size=8), (3, 8, 8)),
    "simple_rescnn": (
        lambda: simple_rescnn(3, width=5, in_channels=1, input_size=8, batch_norm=True),
        (1, 8, 8),
    ),
    "non_square": (NonSquare, (3, 8, 12)),
    "pre_activation": (PreActivation, (1, 6, 6)),
    "joined": (Joined, (3, 4, 4)),
    "squeezed": (Squeezed, (3, 5, 7)),
    "adds_input": (AddsInput, (3, 4, 4)),
    "runs_twice": (RunsTwice, (1, 4, 4)),
}


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
    """The network in float64 with random parameters, biases and batch-norm statistics too."""
    generator = torch.Generator().manual_seed(seed)
    network = network.double().eval()
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.is_floating_point():
                fan = max(tensor[0].numel(), 1) if tensor.ndim > 1 else 1
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / fan**0.5)
    return network


def pixels(shape: Sequence[int], count: int = 3, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, *shape), generator=generator, dtype=torch.float64)


@contextmanager
def watching_inputs(network: nn.Module, seen: dict[str, Tensor]) -> Iterator[None]:
    """Note which images' channels arrive as NaN at each layer, and let zeros in instead."""
    handles = []
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue

        def look(_: nn.Module, args: tuple[Tensor, ...], name: str = name) -> tuple[Tensor, ...]:
            (x,) = args
            broken = x.isnan()
            found = broken.flatten(2).any(dim=2) if x.ndim == 4 else broken
            seen[name] = found | seen[name] if name in seen else found
            return (x.nan_to_num(nan=0.0),)

        handles.append(layer.register_forward_pre_hook(look))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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
    handle = convolution.register_forward_hook(mark)
    with torch.no_grad(), watching_inputs(network, seen):
        seen["output"] = network(pixels(shape, 1).expand(len(kernels), *shape)).isnan()
    handle.remove()
    return [
        {(name, int(i)) for name, rows in seen.items() for i in rows[kernel].nonzero().flatten()}
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


@contextmanager
def without(network: nn.Module, removed: Sequence[frozenset[Taken]]) -> Iterator[None]:
    """Within this context the given layer inputs are zero."""
    gone: dict[str, list[int]] = {}
    for name, position in (taken for inputs in removed for taken in inputs):
        gone.setdefault(name, []).append(position)
    handles = []
    for name, positions in gone.items():

        def hide(
            _: nn.Module, args: tuple[Tensor, ...], positions: list[int] = positions
        ) -> tuple[Tensor, ...]:
            x = args[0].clone()
            x[:, positions] = 0
            return (x,)

        handles.append(network.get_submodule(name).register_forward_pre_hook(hide))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def channel_of(plan: SlicingPlan) -> dict[Kernel, int]:
    """The plan's number of each removable kernel."""
    return {
        (layer, kernel): int(entry)
        for segment in plan.segments
        for layer in segment.layers
        for kernel, entry in enumerate(plan.entries[f"{layer}.weight"][0])
        if int(entry) < plan.channels
    }


@lru_cache(maxsize=len(NETWORKS))
def prepared(name: str) -> tuple[nn.Module, SlicingPlan, Dependence, tuple[int, int, int]]:
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    network = randomised(build())
    return network, slicing_plan(network, shape), dependence(network, shape), shape


def assert_decoded_equals_masked(
    network: nn.Module,
    plan: SlicingPlan,
    found: Dependence,
    kept: Tensor,
    images: Tensor,
) -> None:
    number = channel_of(plan)
    removed = [
        inputs
        for kernels, inputs in zip(found.together, found.inputs, strict=True)
        if not kept[number[next(iter(kernels))]]
    ]
    with torch.no_grad():
        whole = network(images)
        with without(network, removed):
            expected = network(images)
        assert torch.equal(network(images), whole)
        scale = max(1.0, float(expected.abs().max()))
        decoded = decode(network, plan, kept)
        assert float((decoded(images) - expected).abs().max()) <= 1e-10 * scale
        for output in range(plan.outputs):
            one = decode(network, plan, kept, output=output)(images)
            assert one.shape == (len(images), 1)
            assert float((one[:, 0] - expected[:, output]).abs().max()) <= 1e-10 * scale
        with masked(network, plan, kept):
            assert float((network(images) - expected).abs().max()) <= 1e-10 * scale


@pytest.mark.parametrize("name", NETWORKS)
def test_the_plan_couples_the_kernels_that_perturbation_couples(name: str) -> None:
    _, plan, found, _ = prepared(name)
    by_plan: dict[int, set[Kernel]] = {}
    for kernel, channel in channel_of(plan).items():
        by_plan.setdefault(channel, set()).add(kernel)
    assert set(map(frozenset, by_plan.values())) == set(found.together)
    assert plan.channels == len(found.together)
    counts = [len(by_plan[channel]) for channel in range(plan.channels)]
    assert plan.kernels_per_channel.tolist() == counts


@pytest.mark.parametrize("name", NETWORKS)
def test_the_oracle_sees_the_same_when_a_kernel_s_weights_are_nan(name: str) -> None:
    network, _, _, shape = prepared(name)
    for layer_name, layer in network.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        broken = copy.deepcopy(network)
        convolution = broken.get_submodule(layer_name)
        assert isinstance(convolution, nn.Conv2d)
        with torch.no_grad():
            convolution.weight[-1] = torch.nan
            if convolution.bias is not None:
                convolution.bias[-1] = torch.nan
        seen: dict[str, Tensor] = {}
        with torch.no_grad(), watching_inputs(broken, seen):
            seen["output"] = broken(pixels(shape, 1)).isnan()
        inputs = {(at, int(i)) for at, rows in seen.items() for i in rows[0].nonzero().flatten()}
        assert inputs
        assert inputs == reached_by(network, layer_name, shape)[-1]


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=6)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_decoded_equals_masked(name: str, seed: int, share: float) -> None:
    network, plan, found, shape = prepared(name)
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(plan.channels, generator=generator) < share
    number = channel_of(plan)
    for layer in {layer for layer, _ in number}:
        own = [channel for (at, _), channel in number.items() if at == layer]
        if not kept[own].any():
            kept[own[int(torch.randint(len(own), (), generator=generator))]] = True
    assert_decoded_equals_masked(network, plan, found, kept, pixels(shape, seed=seed))


@pytest.mark.parametrize("name", NETWORKS)
def test_each_channel_alone_can_go_and_matters(name: str) -> None:
    network, plan, found, shape = prepared(name)
    images = pixels(shape)
    with torch.no_grad():
        whole = network(images)
    matters = []
    for channel in range(plan.channels):
        if any(len(s) == 1 and s.start == channel for s in plan.segments):
            continue
        kept = torch.arange(plan.channels) != channel
        assert_decoded_equals_masked(network, plan, found, kept, images)
        with torch.no_grad():
            matters.append(not torch.equal(decode(network, plan, kept)(images), whole))
    # ReLU may silence a channel on three images; most are heard.
    assert sum(matters) > len(matters) / 2


def test_resnet18_of_torchvision_is_decoded_exactly() -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = randomised(resnet18(num_classes=3))
    shape = (3, 40, 72)  # feature maps of 2 x 3 pixels before the pool
    plan = slicing_plan(network, shape)
    assert plan.kernels == 4800
    assert [len(segment.layers) for segment in plan.segments] == [3, 1, 1, *[1, 3, 1] * 3]
    generator = torch.Generator().manual_seed(0)
    kept = torch.ones(plan.channels, dtype=torch.bool)
    removed: list[frozenset[Taken]] = []
    number = channel_of(plan)
    seen: dict[str, list[set[Taken]]] = {}
    small = (3, 32, 32)
    for segment in plan.segments:
        for layer in segment.layers:
            seen[layer] = reached_by_few(network, layer, small, count=8)
        gone = torch.randperm(8, generator=generator)[:4].tolist()
        for kernel in gone:
            channel = number[segment.layers[0], kernel]
            assert {number[layer, kernel] for layer in segment.layers} == {channel}
            kept[channel] = False
            removed += [frozenset(seen[layer][kernel]) for layer in segment.layers]
    images = pixels(shape)
    with torch.no_grad():
        with without(network, removed):
            expected = network(images)
        found = decode(network, plan, kept, output=2)(images)
        whole = network(images)
    scale = float(expected.abs().max())
    assert float((found[:, 0] - expected[:, 2]).abs().max()) <= 1e-10 * scale
    assert float((whole - expected).abs().max()) > 1e-3 * scale


def reached_by_few(
    network: nn.Module, layer: str, shape: Sequence[int], *, count: int
) -> list[set[Taken]]:
    """`reached_by` for the first few kernels of a layer."""

    def mark(_: nn.Module, args: tuple[Tensor, ...], made: Tensor) -> Tensor:
        made = made.clone()
        for kernel in range(count):
            made[kernel, kernel] = torch.nan
        return made

    seen: dict[str, Tensor] = {}
    handle = network.get_submodule(layer).register_forward_hook(mark)
    with torch.no_grad(), watching_inputs(network, seen):
        network(pixels(shape, 1).expand(count, *shape))
    handle.remove()
    return [
        {(name, int(i)) for name, rows in seen.items() for i in rows[kernel].nonzero().flatten()}
        for kernel in range(count)
    ]


def test_decoded_tensors_are_copies_that_need_no_gradient() -> None:
    network, plan, _, _ = prepared("rescnn_batch_norm")
    network = copy.deepcopy(network).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    everything = torch.ones(plan.channels, dtype=torch.bool)
    half = torch.arange(plan.channels) % 2 == 0
    for segment in plan.segments:
        half[segment.start] = True
    for kept in (everything, half):
        decoded = decode(network, plan, kept)
        assert not any(module.training for module in decoded.modules())
        assert not any(parameter.requires_grad for parameter in decoded.parameters())
        with torch.no_grad():
            for tensor in [*decoded.parameters(), *decoded.buffers()]:
                tensor.add_(1)
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_decoded_network_is_physically_smaller_and_says_so() -> None:
    network, plan, _, _ = prepared("rescnn_batch_norm")
    kept = torch.zeros(plan.channels, dtype=torch.bool)
    for segment in plan.segments:
        kept[segment.start] = True
    decoded = decode(network, plan, kept, output=1)
    for layer in decoded.modules():
        if isinstance(layer, nn.Conv2d):
            assert (layer.out_channels, layer.in_channels) == tuple(layer.weight.shape[:2])
            assert layer.out_channels == 1
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.num_features == 1
            assert all(len(b) == 1 for name, b in layer.named_buffers() if b.ndim)
        elif isinstance(layer, nn.Linear):
            assert (layer.out_features, layer.in_features) == (1, 1)
    assert int(plan.kernels_kept(kept)) == 12


def test_kernels_kept_counts_each_coupled_kernel() -> None:
    _, plan, _, _ = prepared("rescnn")
    kept = torch.ones(plan.channels, dtype=torch.bool)
    assert int(plan.kernels_kept(kept)) == plan.kernels
    pair = next(s for s in plan.segments if len(s.layers) == 2)
    kept[pair.start] = False
    assert int(plan.kernels_kept(kept)) == plan.kernels - 2
    assert plan.kernels_kept(torch.stack([kept, ~kept])).shape == (2,)


def test_a_mask_that_does_not_fit_is_refused() -> None:
    network, plan, _, _ = prepared("rescnn")
    everything = torch.ones(plan.channels, dtype=torch.bool)
    with pytest.raises(DecodeError, match=rf"shape \({plan.channels},\)"):
        decode(network, plan, everything[:-1])
    with pytest.raises(DecodeError, match="expected a bool mask"):
        decode(network, plan, everything.float())
    for output in (-1, 3):
        with pytest.raises(DecodeError, match=r"outputs 0\.\.2"):
            decode(network, plan, everything, output=output)
    for segment in plan.segments:
        emptied = everything.clone()
        emptied[segment.channels] = False
        with pytest.raises(DecodeError, match="removes every kernel of") as caught:
            decode(network, plan, emptied)
        assert all(layer in str(caught.value) for layer in segment.layers)


def test_a_mask_that_empties_one_of_several_coupled_layers_is_refused() -> None:
    network, plan, _, _ = prepared("joined")
    number = channel_of(plan)
    kept = torch.ones(plan.channels, dtype=torch.bool)
    kept[[number["left", 0], number["left", 1]]] = False
    with pytest.raises(DecodeError, match="removes every kernel of left"):
        decode(network, plan, kept)


def test_a_skeleton_has_the_names_and_shapes_of_the_decoded_network() -> None:
    spec = ArchitectureSpec(
        name="simple_rescnn",
        arguments={
            "num_classes": 4,
            "width": 6,
            "in_channels": 1,
            "input_size": 8,
            "batch_norm": True,
        },
    )
    grey = Preprocessing(size=(8, 8), channels=1, mean=(0.5,), std=(0.25,))
    network = build_network(spec)
    plan = slicing_plan(network, (1, 8, 8))
    kept = torch.arange(plan.channels) % 3 > 0
    skeleton = class_module_skeleton(spec, grey, kept, 2)
    decoded = decode(network, plan, kept, output=2)

    def shapes(one: nn.Module) -> dict[str, tuple[torch.dtype, torch.Size]]:
        return {name: (tensor.dtype, tensor.shape) for name, tensor in one.state_dict().items()}

    assert shapes(skeleton) == shapes(decoded)
    assert {tensor.device.type for tensor in skeleton.state_dict().values()} == {"meta"}
