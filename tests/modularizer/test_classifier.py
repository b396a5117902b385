from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modularizer.architectures.simcnn import simcnn
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.classifier import Classifier, inference, predict
from modularizer.errors import ModularizerError
from modularizer.preprocessing import Preprocessing

GREY = Preprocessing(size=(8, 8), channels=1, mean=(0.5,), std=(0.25,))


def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(
        simcnn(3, stages=((4,),), hidden=(5,), in_channels=1, input_size=8, batch_norm=True),
        architecture=ArchitectureSpec(name="simcnn"),
        preprocessing=GREY,
        class_names=["a", "b", "c"],
    )


def test_predictions_do_not_depend_on_the_batch_size_or_the_mode() -> None:
    model = classifier().train()
    images = np.random.default_rng(0).integers(0, 256, (11, 9, 7, 3), dtype=np.uint8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    together = predict(model, images)
    assert together.shape == (11, 3)
    assert together.dtype == np.float32
    for size in (1, 4, 11, 500):
        np.testing.assert_allclose(predict(model, images, batch_size=size), together, atol=1e-5)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    model.eval()
    with torch.no_grad():
        expected = model(torch.from_numpy(images))
    np.testing.assert_allclose(together, expected.numpy(), atol=1e-5)


def test_no_image_gives_no_prediction() -> None:
    assert predict(classifier(), np.zeros((0, 8, 8, 1), np.uint8)).shape == (0, 3)
    assert predict(classifier(), np.zeros((0, 9, 9, 3), np.uint8)).shape == (0, 3)


def test_inference_gives_each_layer_s_own_mode_back_also_on_an_error() -> None:
    model = classifier().train()
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    norm.eval()
    before = [module.training for module in model.modules()]
    weight = next(model.parameters())
    with inference(model):
        assert not any(module.training for module in model.modules())
        inside: Tensor = weight * 2
    assert not inside.requires_grad
    assert [module.training for module in model.modules()] == before
    with pytest.raises(ZeroDivisionError), inference(model):
        raise ZeroDivisionError
    assert [module.training for module in model.modules()] == before
    assert torch.is_grad_enabled()


def test_a_class_is_found_by_its_name() -> None:
    model = classifier()
    assert model.class_names == ("a", "b", "c")
    assert [model.class_index(name) for name in "abc"] == [0, 1, 2]
    with pytest.raises(ModularizerError, match="no class 'd'; it has a, b, c"):
        model.class_index("d")


class BeginsInPlace(nn.Module):
    """Its first operation writes into what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.conv = nn.ReLU(inplace=True), nn.Conv2d(1, 3, 8)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.conv(self.relu(x)).flatten(1)
        return scores


class Views(BeginsInPlace):
    """And views what a convolution gives, as is refused where channels lie innermost."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.relu(x))
        return x.view(x.shape[0], -1)


class Fails(nn.Module):
    """At its first run, as without memory."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.runs = network, 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        if self.runs == 1:
            raise RuntimeError("out of memory")
        scores: Tensor = self.network(x)
        return scores


def with_network(network: nn.Module) -> Classifier:
    return Classifier(
        network,
        architecture=ArchitectureSpec(name="simcnn"),
        preprocessing=GREY,
        class_names=["a", "b", "c"],
    ).eval()


class Clamps(BeginsInPlace):
    """And changes but the brightest numbers."""

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.conv(x.clamp_(-2, 2)).flatten(1)
        return scores


@pytest.mark.parametrize("network", [BeginsInPlace, Views, Clamps])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_images_stay_as_they_are_for_others(
    network: type[nn.Module], layout: torch.memory_format
) -> None:
    model = with_network(network())
    images = (3 * torch.randn(2, 1, 8, 8)).clone(memory_format=layout)
    before = images.clone()
    with torch.inference_mode():
        expected = model.network(images.clone())
        for _ in range(3):
            assert torch.equal(model.run(images), expected)
            assert torch.equal(images, before)


def test_images_are_copied_only_where_they_have_to_be() -> None:
    model, images = classifier().eval(), torch.randn(2, 1, 8, 8)
    assert model.laid_out(images) is images
    assert model.laid_out(images[:0]).shape == (0, 1, 8, 8)


def test_what_fails_while_a_network_is_tried_is_no_finding() -> None:
    model, images = with_network(Fails(Views())), torch.randn(2, 1, 8, 8)
    with torch.inference_mode():
        assert model.laid_out(images) is images
        before = images.clone()
        assert model.laid_out(images) is not images
        model.run(images)
    assert torch.equal(images, before)
