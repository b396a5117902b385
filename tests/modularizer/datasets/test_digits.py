"""The built-in digits."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from modularizer.datasets.digits import read_digits


def test_digits_are_the_source_stretched_to_bytes() -> None:
    digits, bunch = read_digits(), load_digits()
    assert digits.images.shape == (1797, 8, 8, 1)
    assert (digits.images.min(), digits.images.max()) == (0, 255)
    assert np.abs(digits.images[..., 0] / 255 * 16 - bunch.images).max() <= 0.5 * 16 / 255
    assert np.unique(digits.images).size == 17
    assert digits.labels.tolist() == bunch.target.tolist()
    assert digits.class_names == tuple("0123456789")
