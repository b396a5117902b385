from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.search.subject import train_subject
from modularizer.classifier import predict
from modularizer.datasets.recipes import load_data
from modularizer.datasets.splits import even_shares, with_validation_images
from modularizer.devices import require_device
from modularizer.errors import DataError, ModularizerError
from tests.benchmarks.search.samples import subject


@given(available=st.lists(st.integers(1, 20), min_size=1, max_size=8), count=st.integers(0, 100))
def test_shares_are_as_even_as_what_is_there_allows(available: list[int], count: int) -> None:
    shares = even_shares(available, count)
    assert sum(shares) == min(count, sum(available))
    assert all(share <= most for share, most in zip(shares, available, strict=True))
    unfilled = [share for share, most in zip(shares, available, strict=True) if share < most]
    assert all(share >= max(shares) - 1 for share in unfilled)


def test_validation_images_are_cut_to_the_same_ones_each_time() -> None:
    data = load_data("digits")
    one, two = (with_validation_images(data, 95, seed=3) for _ in range(2))
    assert one.fingerprint == two.fingerprint
    assert sorted(np.bincount(one.validation.labels)) == [9] * 5 + [10] * 5
    assert one.train is data.train
    assert one.fingerprint != with_validation_images(data, 95, seed=4).fingerprint
    everything = with_validation_images(data, 10_000, seed=3)
    assert everything.validation.fingerprint == data.validation.fingerprint


def test_fewer_images_than_classes_are_refused() -> None:
    with pytest.raises(DataError, match="fewer than the 10 classes"):
        with_validation_images(load_data("digits"), 9, seed=0)


def test_the_first_classes_keep_their_scores() -> None:
    whole = subject()
    part = whole.first_classes(3)
    assert part.data.class_names == whole.data.class_names[:3]
    images = part.data.validation.images
    scores, expected = predict(part.strong, images), predict(whole.strong, images)[:, :3]
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)


def test_a_subject_is_trained_on_images_brought_to_the_networks_size() -> None:
    data = load_data("digits", classes=["0", "1"])
    trained = train_subject(data, width_multiplier=0.05, epochs=1)
    assert trained.strong.preprocessing.size == (32, 32)
    assert predict(trained.strong, data.validation.images[:2]).shape == (2, 2)
    assert trained.facts()["training_seconds"] > 0


def test_arithmetic_that_a_device_lacks_is_refused() -> None:
    with pytest.raises(ModularizerError, match="tf32"):
        require_device("cpu", "tf32")
    if not torch.cuda.is_available():
        with pytest.raises(ModularizerError, match="no GPU"):
            require_device("cuda")
