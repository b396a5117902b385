"""A strong model of images with a bright bar, taken apart: what tests of decomposing share."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.composed import ComposedClassifier
from modularizer.classifier import Classifier, predict
from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.held_out import HeldOut
from modularizer.datasets.images import ImageSet
from modularizer.decomposition import Parts, Resources, decompose
from modularizer.progress import Progress
from modularizer.search.diversity import diff
from modularizer.settings import DecompositionSettings, TrainingSettings
from modularizer.training import train_classifier

NAMES = ("left", "middle", "right")
SPEC = ArchitectureSpec(
    name="simple_rescnn",
    arguments={"num_classes": 3, "width": 8, "in_channels": 1, "input_size": 8},
)
SETTINGS = DecompositionSettings(
    few_groups=4, candidates=6, parents=3, generations=4, top=8, random_draws=2, seed=5
)
GRADIENT = SETTINGS.model_copy(
    update={"search": "gradient", "gradient_images": 20, "kernels_budget": 0.45}
)


def image_set(count: int, seed: int) -> ImageSet:
    """Noise with a bright bar whose place is the class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 3
    images = generator.integers(0, 120, (count, 8, 8, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label + 1] += 110
    return ImageSet(images, labels, NAMES)


TEST = image_set(30, 2)
DATA = DataSplits(image_set(60, 0), image_set(45, 1), HeldOut(TEST), "bars")


@lru_cache(maxsize=1)
def strong() -> Classifier:
    settings = TrainingSettings(epochs=6, batch_size=16, learning_rate=0.02)
    return train_classifier(DATA, SPEC, settings).classifier


@lru_cache(maxsize=1)
def parts() -> Parts:
    return decompose(strong(), DATA, SETTINGS)


def untrained(network: nn.Module, names: tuple[str, ...] = NAMES) -> Classifier:
    return Classifier(
        network, architecture=SPEC, preprocessing=strong().preprocessing, class_names=names
    )


def same(first: Parts, second: Parts) -> bool:
    return (
        torch.equal(first.masks.kept, second.masks.kept)
        and first.masks.history == second.masks.history
        and first.random_accuracy == second.random_accuracy
    )


def assert_reported_as_done(found: Parts) -> None:
    composed = ComposedClassifier(found.class_modules)
    predicted = predict(composed, DATA.validation.images).argmax(axis=1)
    accuracy = float((predicted == DATA.validation.labels).mean())
    assert found.masks.accuracy == pytest.approx(accuracy)
    assert found.masks.diff == diff(found.masks.kept, found.plan.kernels_per_channel)
    last = found.masks.history[-1]
    fitness = 0.9 * found.masks.accuracy + 0.1 * found.masks.diff
    assert last["fitness"] == pytest.approx(fitness)
    kept = found.plan.kernels_kept(found.masks.kept)
    assert last["kernels_kept"] == pytest.approx(float(kept.double().mean()))
    for one, count in zip(found.class_modules, kept.tolist(), strict=True):
        convs = [m for m in one.network.modules() if isinstance(m, nn.Conv2d)]
        assert sum(m.out_channels for m in convs) == count
    whole = predict(strong(), DATA.validation.images).argmax(axis=1)
    assert found.strong_accuracy == pytest.approx(float((whole == DATA.validation.labels).mean()))


class InterruptedHereError(Exception):
    """Stands for whatever ends a process between two steps."""


def interrupted_after(steps: int, path: Path, settings: DecompositionSettings) -> bool:
    """Decompose, and stop after so many steps; whether it came to that."""
    count = 0

    def stop(_: Progress) -> None:
        nonlocal count
        count += 1
        if count == steps:
            raise InterruptedHereError

    try:
        decompose(strong(), DATA, settings, resources=Resources(checkpoint=path), progress=stop)
    except InterruptedHereError:
        return True
    return False


class PartlyCoupled(nn.Module):
    """Two convolutions, concatenated, meet a third in an addition: each has some channels."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(1, 3, 3, padding=1)
        self.right = nn.Conv2d(1, 5, 3, padding=1)
        self.both = nn.Conv2d(1, 8, 3, padding=1)
        self.out = nn.Linear(8 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.left(x), self.right(x)], dim=1) + self.both(x)
        scores: Tensor = self.out(nn.functional.max_pool2d(joined.relu(), 2).flatten(1))
        return scores


def fitted(network: nn.Module) -> Classifier:
    prepare = strong().preprocessing
    images = prepare.prepare(torch.from_numpy(DATA.train.images)).contiguous()
    labels = torch.from_numpy(DATA.train.labels)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(40):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    return untrained(network)
