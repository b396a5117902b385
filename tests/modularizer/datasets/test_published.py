"""Published sets: test is never touched, validation comes from train."""

from __future__ import annotations

import numpy as np
import pytest

from modularizer.datasets.images import ImageSet
from modularizer.datasets.published import PublishedSets
from modularizer.errors import DataError

NAMES = ("cat", "dog")


def made(counts: list[int], side: int = 2, names: tuple[str, ...] = NAMES) -> ImageSet:
    labels = np.repeat(np.arange(len(counts)), counts)
    pixels = np.arange(len(labels), dtype=np.uint8).repeat(side * side).reshape(-1, side, side, 1)
    return ImageSet(pixels, labels, names)


def test_a_fifth_of_each_class_validates_and_test_stays() -> None:
    published = PublishedSets(made([50, 20]), made([3, 1]))
    splits = published.split(source="made", seed=4)
    assert np.bincount(splits.train.labels).tolist() == [40, 16]
    assert np.bincount(splits.validation.labels).tolist() == [10, 4]
    assert splits.test.open("a test") is published.test
    pixels = np.concatenate([splits.train.images, splits.validation.images])
    assert sorted(pixels[:, 0, 0, 0]) == list(range(70))


def test_only_then_split_is_split_then_only() -> None:
    published = PublishedSets(made([50, 20]), made([3, 1]))
    first = published.only(["dog"]).split(source="made", seed=4)
    assert first.fingerprint == published.split(source="made", seed=4).only(["dog"]).fingerprint


def test_train_and_test_must_agree_on_classes() -> None:
    with pytest.raises(DataError, match=r"train has the classes .* both must have the same"):
        PublishedSets(made([2, 2]), made([2, 2], names=("dog", "cat")))


def test_train_and_test_must_agree_on_the_shape_of_images() -> None:
    with pytest.raises(DataError, match=r"train images are \(2, 2, 1\) .* images \(3, 3, 1\)"):
        PublishedSets(made([2, 2]), made([2, 2], side=3))


def test_a_class_without_a_test_image_is_named() -> None:
    with pytest.raises(DataError, match="test must have at least 1 image of every class, but cl"):
        PublishedSets(made([2, 2]), made([2, 0]))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_a_validation_share_must_be_a_share(fraction: float) -> None:
    published = PublishedSets(made([5, 5]), made([1, 1]))
    with pytest.raises(DataError, match="fractions must be positive"):
        published.split(source="made", validation_fraction=fraction)
