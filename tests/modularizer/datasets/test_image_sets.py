"""The values that every data set becomes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.held_out import HeldOut
from modularizer.datasets.images import ImageSet, require_uint8_images
from modularizer.errors import DataError

NAMES = ("cat", "dog", "emu")


def numbered(labels: list[int], names: tuple[str, ...] = NAMES) -> ImageSet:
    """A set whose image ``i`` is filled with ``i``."""
    pixels = np.arange(len(labels), dtype=np.uint8).repeat(12).reshape(-1, 2, 2, 3)
    return ImageSet(pixels, np.array(labels, dtype=np.int64), names)


def test_only_relabels_in_the_order_given_and_keeps_the_order_of_images() -> None:
    chosen = numbered([0, 1, 2, 0, 2]).only(["emu", "cat"])
    assert chosen.class_names == ("emu", "cat")
    assert chosen.labels.tolist() == [1, 0, 1, 0]
    assert chosen.images[:, 0, 0, 0].tolist() == [0, 2, 3, 4]


def test_of_class_gives_its_images_and_refuses_a_class_without_any() -> None:
    images = numbered([0, 1, 0])
    assert images.of_class("cat")[:, 0, 0, 0].tolist() == [0, 2]
    with pytest.raises(DataError, match="class 'emu' has no image"):
        images.of_class("emu")


def test_an_unknown_class_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="no class 'fox' here; the classes are cat, dog, emu"):
        numbered([0]).only(["fox"])


def test_the_fingerprint_changes_with_pixels_labels_and_names_alone() -> None:
    first = numbered([0, 1])
    assert first.fingerprint == numbered([0, 1]).fingerprint
    others = [numbered([1, 0]), numbered([0, 1], ("cat", "dog", "owl")), numbered([0, 1, 2])]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 4
    assert len(numbered([]).fingerprint) == 64


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (np.array([0]), NAMES, "expected one int64 label for each of 2 images, found int64 of"),
        (np.array([0.0, 1.0]), NAMES, "found float64 of shape"),
        (np.array([0, 3]), NAMES, r"labels must lie in 0..2 .* found 0..3"),
        (np.array([-1, 0]), NAMES, "found -1..0"),
        (np.array([0, 0]), ("cat", "cat"), "class names must be distinct"),
        (np.array([0, 0]), (), "at least one"),
    ],
)
def test_labels_that_fit_no_image_or_class_are_refused(
    labels: Any, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ImageSet(np.zeros((2, 2, 2, 3), np.uint8), labels, names)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.full((1, 2, 2, 3), np.nan), r"found float64 \(with NaN\); scale to 0-255"),
        (np.zeros((1, 2, 2, 3), np.int16), "expected uint8 images .* found int16;"),
        (np.zeros((2, 2, 3), np.uint8), "expected images of shape"),
        (np.zeros((1, 2, 2, 4), np.uint8), r"found \(1, 2, 2, 4\)"),
        (np.zeros((1, 0, 2, 3), np.uint8), r"found \(1, 0, 2, 3\)"),
    ],
)
def test_images_of_another_form_are_refused(images: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        require_uint8_images(images)


def test_splits_must_agree_on_their_classes() -> None:
    first, other = numbered([0]), numbered([0], ("dog", "cat", "emu"))
    with pytest.raises(DataError, match="the same classes in one order"):
        DataSplits(first, first, HeldOut(other), "made")
