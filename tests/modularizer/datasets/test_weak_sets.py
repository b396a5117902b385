"""The paper's weak data: nine classes and a target class, as many images of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from modularizer.datasets.data_splits import DataSplits
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


def weak(target: str, seed: int = 0, **more: Any) -> DataSplits:
    return with_target_class(CIFAR100, CIFAR10, target, source="made", seed=seed, **more)


def test_the_target_class_comes_last_with_400_100_and_100_images() -> None:
    joined = weak("frog")
    assert joined.class_names == (*CIFAR100_WEAK, "frog")
    assert np.bincount(joined.train.labels).tolist() == [5] * 9 + [400]
    assert np.bincount(joined.validation.labels).tolist() == [1] * 9 + [100]
    test = joined.test.open("a test")
    assert np.bincount(test.labels).tolist() == [3] * 9 + [100]
    assert np.array_equal(test.of_class("frog"), CIFAR10.test.of_class("frog")[:100])
    nine = CIFAR100.only(CIFAR100_WEAK).split(source="made")
    assert joined.train.only(CIFAR100_WEAK).fingerprint == nine.train.fingerprint
    assert joined.validation.only(CIFAR100_WEAK).fingerprint == nine.validation.fingerprint


def test_all_test_images_of_the_target_class_on_request() -> None:
    test = weak("frog", test_images=None).test.open("a test")
    assert len(test.of_class("frog")) == 150


def test_the_seed_chooses_the_images_of_the_target_class() -> None:
    chosen = [weak("cat", seed=seed).train.fingerprint for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize("seed", [0, 5])
def test_a_strong_model_has_learnt_from_target_images_to_train_on_and_from_no_others(
    seed: int,
) -> None:
    strong = CIFAR10.split(source="cifar10", seed=seed)
    cats = weak("cat", seed=seed)
    assert pixels(cats.train.of_class("cat")) <= pixels(strong.train.of_class("cat"))
    held = pixels(cats.validation.of_class("cat"))
    assert held <= pixels(strong.validation.of_class("cat"))
    assert not held & pixels(cats.train.of_class("cat"))


def test_fewer_images_than_that_are_shared_out_without_overlap() -> None:
    few = PublishedSets(made(CIFAR10_CLASSES, 20, seed=3), made(CIFAR10_CLASSES, 5, seed=4))
    joined = with_target_class(CIFAR100, few, "cat", source="made")
    parts = [len(part.of_class("cat")) for part in (joined.train, joined.validation)]
    assert parts == [16, 4]
    assert not pixels(joined.train.of_class("cat")) & pixels(joined.validation.of_class("cat"))


def test_a_target_class_is_one_that_the_strong_model_knows() -> None:
    assert digits_weak_classes("0") == ("6", "7", "8", "9", "0")
    assert cifar100_weak_classes("ship") == (*CIFAR100_WEAK, "ship")
    with pytest.raises(DataError, match=r"knows \(0, 1, 2, 3, 4\), found '7'"):
        digits_weak_classes("7")
    with pytest.raises(DataError, match=r"knows \(airplane, .*, truck\), found 'rose'"):
        cifar100_weak_classes("rose")
