"""Decoding against an oracle that knows nothing of the slicing plan."""

from __future__ import annotations

import copy
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.decode import class_module_skeleton, decode
from modularizer.errors import DecodeError
from modularizer.preprocessing import Preprocessing
from tests.modularizer.exactness import assert_decoded_equals_masked, channel_of, random_mask
from tests.modularizer.networks import NETWORKS, PARTS_STAY
from tests.modularizer.oracle import (
    Kernel,
    dependence,
    group_of,
    pixels,
    randomised,
    reached_by,
    watching_inputs,
)


@lru_cache(maxsize=len(NETWORKS))
def prepared(name: str) -> tuple[nn.Module, SlicingPlan, tuple[int, int, int]]:
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    network = randomised(build())
    return network, slicing_plan(network, shape), shape


@pytest.mark.parametrize("name", NETWORKS)
def test_the_plan_couples_the_kernels_that_perturbation_couples(name: str) -> None:
    network, plan, shape = prepared(name)
    found = dependence(network, shape)
    by_plan: dict[int, set[Kernel]] = {}
    for kernel, channel in channel_of(plan).items():
        by_plan.setdefault(channel, set()).add(kernel)
    if name in PARTS_STAY:
        for kernels in by_plan.values():
            assert any(kernels <= one for one in found.together)
    else:
        assert set(map(frozenset, by_plan.values())) == set(found.together)
    counts = [len(by_plan[channel]) for channel in range(plan.channels)]
    assert plan.kernels_per_channel.tolist() == counts


@pytest.mark.parametrize("name", NETWORKS)
def test_the_oracle_sees_the_same_when_a_kernel_s_weights_are_nan(name: str) -> None:
    network, _, shape = prepared(name)
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
        inputs = group_of(convolution, layer_name, convolution.out_channels - 1)
        inputs |= {(at, int(i)) for at, rows in seen.items() for i in rows[0].nonzero().flatten()}
        assert inputs
        assert inputs == reached_by(network, layer_name, shape)[-1]


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=6)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_decoded_equals_masked(name: str, seed: int, share: float) -> None:
    network, plan, shape = prepared(name)
    kept = random_mask(plan, share, seed)
    assert_decoded_equals_masked(network, plan, kept, pixels(shape, seed=seed))


@pytest.mark.parametrize("name", NETWORKS)
def test_each_channel_alone_can_go_and_matters(name: str) -> None:
    network, plan, shape = prepared(name)
    images = pixels(shape)
    with torch.no_grad():
        whole = network(images)
    matters = []
    for channel in range(plan.channels):
        if any(one.tolist() == [channel] for one in plan.layer_channels.values()):
            continue
        kept = torch.arange(plan.channels) != channel
        assert_decoded_equals_masked(network, plan, kept, images)
        with torch.no_grad():
            matters.append(not torch.equal(decode(network, plan, kept)(images), whole))
    # ReLU may silence a channel on three images; most are heard.
    assert sum(matters) > len(matters) / 2


def test_decoded_tensors_are_copies_that_need_no_gradient() -> None:
    network, plan, _ = prepared("rescnn_batch_norm")
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
    network, plan, _ = prepared("rescnn_batch_norm")
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
    _, plan, _ = prepared("rescnn")
    kept = torch.ones(plan.channels, dtype=torch.bool)
    assert int(plan.kernels_kept(kept)) == plan.kernels
    pair = next(s for s in plan.segments if len(s.layers) == 2)
    kept[pair.start] = False
    assert int(plan.kernels_kept(kept)) == plan.kernels - 2
    assert plan.kernels_kept(torch.stack([kept, ~kept])).shape == (2,)


def test_a_mask_that_does_not_fit_is_refused() -> None:
    network, plan, _ = prepared("rescnn")
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
    network, plan, _ = prepared("joined")
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


@pytest.mark.parametrize("name", ["shuffled", "split", "layer_normed", "two_names"])
def test_stored_tensors_fill_a_skeleton_to_the_same_network(name: str) -> None:
    network, plan, shape = prepared(name)
    kept = random_mask(plan, 0.5, 1)
    decoded = decode(network, plan, kept, output=1)
    build, _ = NETWORKS[name]
    with torch.device("meta"):
        whole = build().double()
    skeleton = decode(whole, slicing_plan(whole, shape), kept, output=1)
    skeleton.load_state_dict(decoded.state_dict(), assign=True)
    assert not any(t.is_meta for t in [*skeleton.parameters(), *skeleton.buffers()])
    images = pixels(shape)
    with torch.no_grad():
        assert torch.equal(skeleton(images), decoded(images))
        assert torch.equal(copy.deepcopy(decoded)(images), decoded(images))


def test_a_layer_under_two_names_stays_one() -> None:
    network, plan, _ = prepared("two_names")
    decoded = decode(network, plan, random_mask(plan, 0.5, 0))
    assert decoded.get_submodule("conv") is decoded.get_submodule("blocks.0")
    assert decoded.get_submodule("norm") is decoded.get_submodule("same_norm")
