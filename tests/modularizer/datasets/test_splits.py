"""Splits: every image once, every class in every part, the seed alone decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.images import ImageSet
from modularizer.datasets.splits import seeded_order, split_images, stratified_parts
from modularizer.errors import DataError


def identified(counts: list[int], seed: int = 0) -> ImageSet:
    """A shuffled set with so many images of each class; two pixels hold an image's number."""
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.random.default_rng(seed).permutation(labels)
    pixels = np.arange(len(labels), dtype=">u2").view(np.uint8).reshape(-1, 1, 2, 1)
    return ImageSet(pixels, labels, tuple(f"class {i}" for i in range(len(counts))))


def numbers(images: ImageSet) -> list[int]:
    return [int(high) * 256 + int(low) for high, low in images.images.reshape(-1, 2)]


def parts_of(splits: DataSplits) -> list[ImageSet]:
    return [splits.train, splits.validation, splits.test.open("a test")]


COUNTS = st.lists(st.integers(3, 40), min_size=1, max_size=5)
SEEDS = st.integers(0, 2**32)
FRACTIONS = st.lists(st.floats(0.01, 1), min_size=1, max_size=3).map(
    lambda shares: [share / sum(shares) for share in shares]
)


@settings(max_examples=50, deadline=None)
@given(COUNTS, SEEDS, FRACTIONS)
def test_every_image_lands_in_exactly_one_part_with_its_label(
    counts: list[int], seed: int, fractions: list[float]
) -> None:
    images = identified(counts)
    parts = stratified_parts(images, fractions, seed=seed)
    assert sorted(number for part in parts for number in numbers(part)) == numbers(images)
    for part in parts:
        assert numbers(part) == sorted(numbers(part))
        assert part.labels.tolist() == images.labels[numbers(part)].tolist()


@settings(max_examples=50, deadline=None)
@given(COUNTS, SEEDS, FRACTIONS)
def test_every_part_holds_its_share_of_every_class(
    counts: list[int], seed: int, fractions: list[float]
) -> None:
    for part, share in zip(
        stratified_parts(identified(counts), fractions, seed=seed), fractions, strict=True
    ):
        found = np.bincount(part.labels, minlength=len(counts))
        assert found.min() >= 1
        # Rounded to whole images; a part that would be empty takes up to one from each other.
        assert np.abs(found - share * np.array(counts)).max() <= len(fractions)


@settings(max_examples=25, deadline=None)
@given(COUNTS, SEEDS)
def test_leaving_out_a_class_before_or_after_gives_the_same_splits(
    counts: list[int], seed: int
) -> None:
    images = identified(counts)
    chosen = images.class_names[::-2]
    before = split_images(images.only(chosen), source="made", seed=seed)
    after = split_images(images, source="made", seed=seed).only(chosen)
    assert before.fingerprint == after.fingerprint


def test_the_seed_alone_decides() -> None:
    images = identified([30, 30])
    prints = [split_images(images, source="made", seed=seed).fingerprint for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]


def test_the_shuffle_stays_the_same_between_versions() -> None:
    # Published results name a seed: if this fails, the same seed means other splits.
    order = seeded_order(identified([6, 4]), "class 1", seed=7)
    assert order.tolist() == [1, 3, 8, 6]


def test_the_default_is_forty_thirty_thirty() -> None:
    splits = split_images(identified([100, 50]), source="made")
    assert [np.bincount(part.labels).tolist() for part in parts_of(splits)] == [
        [40, 20],
        [30, 15],
        [30, 15],
    ]


def test_three_images_of_a_class_are_enough_for_three_parts() -> None:
    splits = split_images(identified([3, 200]), source="made", fractions=(0.98, 0.01, 0.01))
    parts = parts_of(splits)
    assert [len(part.of_class("class 0")) for part in parts] == [1, 1, 1]
    assert [len(part.of_class("class 1")) for part in parts] == [196, 2, 2]


@pytest.mark.parametrize("count", [0, 2])
def test_a_class_with_too_few_images_is_named(count: int) -> None:
    message = f"at least 3 images of every class, but class 'class 1' has {count}; add images"
    with pytest.raises(DataError, match=message):
        split_images(identified([9, count, 9]), source="made")


@pytest.mark.parametrize("fractions", [(0.5, 0.6, 0.1), (1.0, 0.0, 0.0), (0.4, 0.3, float("nan"))])
def test_fractions_that_are_no_shares_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="fractions must be positive and sum to 1, found"):
        split_images(identified([9]), source="made", fractions=fractions)


def test_two_fractions_are_no_three_splits() -> None:
    with pytest.raises(DataError, match=r"expected three fractions .* found 2"):
        split_images(identified([9]), source="made", fractions=(0.5, 0.5))


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(DataError, match="a seed must be 0 or more, found -1"):
        split_images(identified([9]), source="made", seed=-1)
