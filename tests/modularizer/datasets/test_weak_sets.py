"""The paper's weak data: nine classes and a target class, as many images of each."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from modularizer.datasets.images import ImageSet
from modularizer.datasets.published import PublishedSets
from modularizer.datasets.weak_sets import (
    CIFAR10_CLASSES,
    CIFAR100_WEAK,
    cifar100_weak_classes,
    digits_weak_classes,
    with_target_class,
)
from modularizer.errors import DataError


def made(names: tuple[str, ...], per_class: int, seed: int) -> ImageSet:
    labels = np.tile(np.arange(len(names)), per_class)
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 2, 2, 1), dtype=np.uint8)
    return ImageSet(pixels, labels, names)


CIFAR100 = PublishedSets(
    made((*CIFAR100_WEAK, "wolf"), 6, seed=1), made((*CIFAR100_WEAK, "wolf"), 3, seed=2)
)
CIFAR10 = PublishedSets(made(CIFAR10_CLASSES, 600, seed=3), made(CIFAR10_CLASSES, 150, seed=4))


def pixels(images: NDArray[np.uint8]) -> set[bytes]:
    return {image.tobytes() for image in images}


def test_the_target_class_comes_last_with_500_and_100_images() -> None:
    joined = with_target_class(CIFAR100, CIFAR10, "frog")
    assert joined.train.class_names == (*CIFAR100_WEAK, "frog")
    assert np.bincount(joined.train.labels).tolist() == [6] * 9 + [500]
    assert np.bincount(joined.test.labels).tolist() == [3] * 9 + [100]
    first = CIFAR10.test.of_class("frog")[:100]
    assert np.array_equal(joined.test.of_class("frog"), first)
    nine = CIFAR100.only(CIFAR100_WEAK).train
    assert joined.train.only(CIFAR100_WEAK).fingerprint == nine.fingerprint


def test_all_test_images_of_the_target_class_on_request() -> None:
    joined = with_target_class(CIFAR100, CIFAR10, "frog", test_images=None)
    assert len(joined.test.of_class("frog")) == 150


def test_the_seed_chooses_the_training_images_of_the_target_class() -> None:
    chosen = [
        with_target_class(CIFAR100, CIFAR10, "cat", seed=seed).train.fingerprint
        for seed in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1] != chosen[2]


def test_with_one_seed_the_target_images_are_training_images_of_the_strong_model() -> None:
    strong = CIFAR10.split(source="cifar10", seed=5, validation_fraction=0.1)
    weak = with_target_class(CIFAR100, CIFAR10, "cat", seed=5)
    assert pixels(weak.train.of_class("cat")) <= pixels(strong.train.of_class("cat"))


def test_a_target_class_is_one_that_the_strong_model_knows() -> None:
    assert digits_weak_classes("0") == ("6", "7", "8", "9", "0")
    assert cifar100_weak_classes("ship") == (*CIFAR100_WEAK, "ship")
    with pytest.raises(DataError, match=r"knows \(0, 1, 2, 3, 4\), found '7'"):
        digits_weak_classes("7")
    with pytest.raises(DataError, match=r"knows \(airplane, .*, truck\), found 'rose'"):
        cifar100_weak_classes("rose")
