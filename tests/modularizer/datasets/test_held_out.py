from __future__ import annotations

import logging

import numpy as np
import pytest

from modularizer.datasets.held_out import HeldOut
from modularizer.datasets.images import ImageSet
from modularizer.errors import DataError


def images() -> ImageSet:
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 2, 2, 1)
    return ImageSet(pixels, np.array([0, 1, 2, 1]), ("cat", "dog", "emu"))


def test_images_are_given_out_once_and_the_log_says_for_what(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sealed = HeldOut(images())
    assert len(sealed) == 4
    assert sealed.class_names == ("cat", "dog", "emu")
    assert sealed.fingerprint == images().fingerprint
    assert not caplog.records
    with caplog.at_level(logging.INFO):
        given = sealed.open("the table")
    assert np.array_equal(given.images, images().images)
    assert "4 held-out images are given out for the table" in caplog.text
    with pytest.raises(DataError, match=r"were given out for the table.*to use them for a plot"):
        sealed.open("a plot")


def test_some_classes_of_it_are_sealed_too() -> None:
    sealed = HeldOut(images())
    some = sealed.only(["emu", "dog"])
    assert some.open("a table").labels.tolist() == [1, 0, 1]
    with pytest.raises(DataError, match="given out for a table"):
        some.open("another")
    assert len(sealed.open("a table of all")) == 4
