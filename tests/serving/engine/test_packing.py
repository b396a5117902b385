"""A packed network gives what the network gave."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.class_module import both_ways
from modularizer.classifier import Classifier, ImageNetwork
from modularizer.preprocessing import Preprocessing
from serving.engine.packing import PackedConv2d, pack, packed
from tests.modularizer.networks import NETWORKS
from tests.serving.samples import GREY, class_module

CHANNELS_SEEN = {1: 1, 2: 1, 3: 3, 5: 3}


def classifier(network: nn.Module, shape: tuple[int, int, int] = (3, 8, 8)) -> Classifier:
    """Images of 2 and 5 channels exist in no preprocessing: a first layer makes them."""
    channels, *size = shape
    if CHANNELS_SEEN[channels] != channels:
        network = nn.Sequential(nn.Conv2d(CHANNELS_SEEN[channels], channels, 1), network)
    seen = CHANNELS_SEEN[channels]
    return Classifier(
        network.eval(),
        architecture=ArchitectureSpec(name="simcnn"),
        preprocessing=Preprocessing(
            size=(size[0], size[1]), channels=seen, mean=(0.5,) * seen, std=(0.25,) * seen
        ),
        class_names=("a", "b", "c"),
    )


def with_statistics(network: nn.Module) -> nn.Module:
    """Batch norms that change something."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
            nn.init.normal_(layer.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(layer.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return network


def images(model: ImageNetwork, count: int) -> Tensor:
    wanted = model.preprocessing
    return torch.randn(count, wanted.channels, *wanted.size)


def packed_layers(model: nn.Module) -> int:
    return sum(isinstance(one, PackedConv2d) for one in model.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_the_same_scores(name: str) -> None:
    torch.manual_seed(1)
    make, shape = NETWORKS[name]
    model = classifier(with_statistics(make()), shape)
    layers = sum(type(one) is nn.Conv2d for one in model.modules())
    with torch.inference_mode():
        inputs = [images(model, count) for count in (1, 2, 7)]
        inputs += [one.contiguous(memory_format=torch.channels_last) for one in inputs]
        expected = [model.run(one) for one in inputs]
        assert pack(model)
        for one, scores in zip(inputs, expected, strict=True):
            torch.testing.assert_close(model.run(one), scores, rtol=1e-4, atol=1e-4)
    assert packed_layers(model) >= min(layers, 1)


def test_the_norm_and_the_relu_behind_a_convolution_are_taken_in() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()
    ).eval()
    found = packed(with_statistics(network), torch.randn(2, 3, 8, 8))
    assert {type(one) for one in found.children()} == {PackedConv2d, nn.Flatten}


@pytest.mark.parametrize(
    ("channels", "size", "is_held_twice"),
    [(8, 8, True), (85, 8, True), (86, 8, False), (8, 9, False)],
)
def test_small_layers_run_one_image_as_torch_does(
    channels: int, size: int, is_held_twice: bool
) -> None:
    layer = nn.Conv2d(channels, channels, 3, padding=1)
    one = PackedConv2d(layer, (2, channels, size, size), with_relu=True)
    assert (one.plain_weight is not None) == is_held_twice
    with torch.inference_mode():
        for count in (1, 2):
            x = torch.randn(count, channels, size, size)
            expected = layer(x).relu()
            torch.testing.assert_close(one(x), expected, rtol=1e-4, atol=1e-5)


class ReadsBetween(nn.Module):
    """Something else needs what a convolution gives before the norm, and before the ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.norm, self.relu = nn.BatchNorm2d(3), nn.ReLU(inplace=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x + self.norm(x)
        x = self.second(x)
        scores: Tensor = (self.relu(x) - x).mean((2, 3))
        return scores


def test_what_something_else_reads_is_not_taken_in() -> None:
    model = classifier(with_statistics(ReadsBetween()))
    with torch.inference_mode():
        x = images(model, 3)
        expected = model.run(x)
        assert pack(model)
        torch.testing.assert_close(model.run(x), expected, rtol=1e-4, atol=1e-5)
    kinds = {type(one) for one in model.network.children()}
    assert kinds == {PackedConv2d, nn.BatchNorm2d, nn.ReLU}


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.Conv2d(3, 3, 3, padding="same"),
        lambda: nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"),
        lambda: nn.Conv2d(3, 3, 3, padding=1).double(),
    ],
)
def test_layers_that_can_not_be_packed_stay(layer: Callable[[], nn.Conv2d]) -> None:
    conv = layer()
    network = nn.Sequential(conv, nn.Flatten()).eval()
    x = torch.randn(2, 3, 8, 8, dtype=conv.weight.dtype)
    found = packed(network, x)
    assert [type(one) for one in found.children()] == [nn.Conv2d, nn.Flatten]
    assert torch.equal(found(x), network(x))


class ViewsChannelsOutermost(nn.Module):
    """Flattened by a view, as much code does, which fails where channels are innermost."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(256, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        scores: Tensor = self.out(x.view(x.shape[0], -1))
        return scores


def test_a_network_that_flattens_by_a_view_gets_images_as_they_are_afterwards() -> None:
    model = classifier(ViewsChannelsOutermost())
    x = images(model, 2).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = model.run(x)
        assert model.laid_out(x) is not x
        assert pack(model)
        torch.testing.assert_close(model.run(x), expected, rtol=1e-4, atol=1e-5)
        assert model.laid_out(x) is x


class DependsOnValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.conv(x).mean((2, 3))
        return scores if bool((scores > 0).all()) else -scores


class Unsteady(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.conv(x).mean((2, 3))
        return scores + torch.rand_like(scores)


@pytest.mark.parametrize("make", [DependsOnValues, Unsteady])
def test_a_network_that_would_not_be_the_same_stays(make: Callable[[], nn.Module]) -> None:
    network = make()
    model = classifier(network)
    assert not pack(model)
    assert model.network is network


def test_a_network_without_finite_scores_stays() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 8), nn.Flatten())
    nn.init.constant_(network[0].weight, torch.nan)  # type: ignore[arg-type]
    model = classifier(network)
    assert not pack(model)
    assert model.network is network


def test_a_class_module_is_packed_and_so_is_its_mirrored_variant() -> None:
    module = class_module("TC", GREY).eval()
    mirrored = both_ways(module)
    x = images(module, 3)
    with torch.inference_mode():
        expected = module.run(x), mirrored.run(x)
        assert pack(module)
        assert pack(mirrored)
        for one, scores in zip((module, mirrored), expected, strict=True):
            torch.testing.assert_close(one.run(x), scores, rtol=1e-4, atol=1e-5)
    assert packed_layers(module) == packed_layers(mirrored) == 2


@pytest.mark.parametrize("copied", [deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@pytest.mark.parametrize("name", ["rescnn_batch_norm", "grouped", "inverted"])
def test_a_packed_network_can_be_copied(
    name: str, copied: Callable[[Classifier], Classifier]
) -> None:
    make, shape = NETWORKS[name]
    model = classifier(with_statistics(make()), shape)
    assert pack(model)
    again = copied(model)
    assert packed_layers(again) == packed_layers(model) > 0
    with torch.inference_mode():
        for count in (1, 3):
            x = images(model, count)
            torch.testing.assert_close(again.run(x), model.run(x))


def test_a_network_in_training_mode_is_in_evaluation_from_then_on() -> None:
    model = classifier(with_statistics(ReadsBetween())).train()
    assert pack(model)
    assert not any(layer.training for layer in model.modules())


class WritesIntoItsInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.conv(x.sub_(0.5)).mean((2, 3))
        return scores


def test_a_network_that_writes_into_its_input_is_packed_too() -> None:
    assert pack(classifier(WritesIntoItsInput()))


def test_a_packed_network_stays_as_it_is() -> None:
    model = classifier(nn.Sequential(nn.Conv2d(3, 3, 8), nn.Flatten()))
    assert pack(model)
    network = model.network
    assert pack(model)
    assert model.network is network
