"""Which models and data can be taken apart, and what the others hear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modularizer.architectures.rescnn import simple_rescnn
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.composed import ComposedClassifier
from modularizer.classifier import Classifier, channels_outermost, predict
from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.held_out import HeldOut
from modularizer.datasets.images import ImageSet
from modularizer.decomposition import decompose
from modularizer.errors import DataError, ModularizerError, PlanError
from modularizer.preprocessing import Preprocessing
from modularizer.progress import Progress
from modularizer.settings import TrainingSettings
from modularizer.training import train_classifier
from tests.modularizer.bars import (
    DATA,
    NAMES,
    SETTINGS,
    SPEC,
    TEST,
    fitted,
    strong,
    untrained,
)


def without(images: ImageSet, label: int) -> ImageSet:
    return images.take(images.labels != label)


def test_data_that_does_not_fit_is_refused_before_any_work() -> None:
    told: list[Progress] = []

    def refused(data: DataSplits, message: str, model: Classifier | None = None) -> None:
        with pytest.raises(DataError, match=message):
            decompose(model or strong(), data, SETTINGS, progress=told.append)

    refused(DATA.only(["left", "right", "middle"]), "in that order")
    refused(DATA.only(["left", "right"]), "the model's classes are left, middle, right")
    train, validation = without(DATA.train, 1), without(DATA.validation, 2)
    refused(replace(DATA, train=train), "class 'middle' has no training image")
    refused(replace(DATA, validation=validation), "class 'right' has no validation image")
    lone = untrained(simple_rescnn(1, width=4, in_channels=1, input_size=8), ("left",))
    refused(DATA.only(["left"]), "single class", lone)
    assert not told


class FixedView(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.out = nn.Linear(256, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.conv(x).relu().contiguous().view(-1, 256))
        return scores


def test_a_network_that_can_not_be_sliced_is_refused_before_any_work() -> None:
    told: list[Progress] = []
    refused = {
        "a view to a fixed width": FixedView(),
        "no convolution": nn.Sequential(nn.Flatten(), nn.Linear(64, 3)),
        "ConvTranspose2d": nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ConvTranspose2d(4, 4, 3), nn.Flatten(), nn.Linear(256, 3)
        ),
        "4 scores.*3 classes": simple_rescnn(4, width=4, in_channels=1, input_size=8),
        "2 scores.*3 classes": simple_rescnn(2, width=4, in_channels=1, input_size=8),
    }
    for message, network in refused.items():
        with pytest.raises(PlanError, match=message):
            decompose(untrained(network), DATA, SETTINGS, progress=told.append)
    assert not told


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_strong_network_with_broken_weights_is_refused(value: float) -> None:
    network = simple_rescnn(3, width=4, in_channels=1, input_size=8)
    with torch.no_grad():
        next(network.parameters())[0] = value
    with pytest.raises(ModularizerError, match="gives NaN or infinite scores"):
        decompose(untrained(network), DATA, SETTINGS)


def test_a_network_that_writes_into_its_images_is_refused() -> None:
    inner = simple_rescnn(3, width=4, in_channels=1, input_size=8)
    with pytest.raises(PlanError, match="writes into its images, which all candidates are given"):
        decompose(untrained(nn.Sequential(nn.ReLU(inplace=True), inner)), DATA, SETTINGS)


class NanOnBright(nn.Module):
    """Right like any other, and NaN for an image with a pixel as bright as can be."""

    most: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner = simple_rescnn(3, width=4, in_channels=1, input_size=8)
        brightest = torch.full((1, 8, 8, 1), 255, dtype=torch.uint8)
        self.register_buffer("most", strong().prepare(brightest).max())

    def forward(self, x: Tensor) -> Tensor:
        left = (self.most * 0.99 - x.amax((1, 2, 3))).sqrt().unsqueeze(-1)
        scores: Tensor = self.inner(x) * (left * 0 + 1)
        return scores


@pytest.mark.parametrize("search", ["genetic", "gradient"])
def test_nan_on_some_validation_images_is_refused_before_any_search(search: str) -> None:
    bright = DATA.validation.images.copy()
    bright[40:, 0, 0] = 255  # beyond those that a plan is tried on
    data = replace(DATA, validation=replace(DATA.validation, images=bright))
    told: list[Progress] = []
    with pytest.raises(ModularizerError, match="NaN or infinite scores on validation images"):
        decompose(
            fitted(NanOnBright()),
            data,
            SETTINGS.model_copy(update={"search": search}),
            progress=told.append,
        )
    assert not told


def test_a_strong_model_at_chance_level_is_refused_with_the_numbers() -> None:
    network = simple_rescnn(3, width=4, in_channels=1, input_size=8)
    with pytest.raises(ModularizerError, match=r"right on 0\.333 .* nothing to take apart"):
        decompose(untrained(constant(network)), DATA, SETTINGS)


def constant(network: nn.Module) -> nn.Module:
    head = network.get_submodule("classifier")
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.zero_()
    return network


@pytest.mark.slow
def test_a_hundred_classes_can_be_taken_apart() -> None:
    names = tuple(f"class {index}" for index in range(100))
    generator = np.random.default_rng(0)
    prototypes = generator.integers(0, 256, (100, 8, 8, 1), dtype=np.uint8)

    def of(count: int) -> ImageSet:
        labels = np.arange(count, dtype=np.int64) % 100
        noise = generator.integers(0, 10, (count, 8, 8, 1))
        return ImageSet((prototypes[labels] * 0.9 + noise).astype(np.uint8), labels, names)

    data = DataSplits(of(300), of(200), HeldOut(of(100)), "prototypes")
    spec = ArchitectureSpec(name="simple_simcnn", arguments=HUNDRED)
    training = TrainingSettings(epochs=40, batch_size=10, learning_rate=0.02)
    model = train_classifier(data, spec, training).classifier
    settings = SETTINGS.model_copy(update={"candidates": 3, "parents": 2, "generations": 2})
    found = decompose(model, data, settings)
    assert len(found.class_modules) == 100
    assert found.strong_accuracy > 0.5
    assert found.passes["search"] < 0.6 * found.passes["plain"]


HUNDRED = {"num_classes": 100, "widths": [16], "in_channels": 1, "input_size": 8}


class WithView(nn.Module):
    """The commonest idiom there is: ``view`` after a convolution, its width left to torch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3, padding=1)
        self.out = nn.Linear(6 * 64, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        scores: Tensor = self.out(x.view(x.size(0), -1))
        return scores


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_that_takes_contiguous_images_alone_is_served_too(channels: int) -> None:
    def coloured(images: ImageSet) -> ImageSet:
        return ImageSet(images.images.repeat(channels, axis=3), images.labels, NAMES)

    train, validation, test = map(coloured, (DATA.train, DATA.validation, TEST))
    data = DataSplits(train, validation, HeldOut(test), "bars")
    torch.manual_seed(0)
    network = WithView(channels)
    prepare = Preprocessing(
        size=(8, 8), channels=channels, mean=(0.4,) * channels, std=(0.3,) * channels
    )
    images, labels = prepare.prepare(torch.from_numpy(data.train.images)), data.train.labels
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        scores = network(channels_outermost(images))
        nn.functional.cross_entropy(scores, torch.from_numpy(labels)).backward()
        optimiser.step()
    with pytest.raises(RuntimeError, match="view size"):
        network(images)
    model = Classifier(network, architecture=SPEC, preprocessing=prepare, class_names=NAMES)
    found = decompose(model, data, SETTINGS)
    predicted = predict(ComposedClassifier(found.class_modules), data.validation.images)
    accuracy = float((predicted.argmax(axis=1) == data.validation.labels).mean())
    assert found.masks.accuracy == pytest.approx(accuracy)
