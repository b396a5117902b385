from __future__ import annotations

import resource
from typing import Any, Literal

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from modularizer.datasets.images import ImageSet
from modularizer.errors import DataError
from modularizer.preprocessing import Preprocessing, as_tensor

GREY = Preprocessing(size=(8, 6), channels=1, mean=(0.25,), std=(0.5,))
COLOUR = Preprocessing(size=(8, 6), channels=3, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))


def pixels(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


def test_pixels_of_the_right_size_are_scaled_and_normalised() -> None:
    images = pixels(3, 8, 6, 3)
    expected = (images.double() / 255 - torch.tensor([0.1, 0.2, 0.3])) / torch.tensor(
        [0.5, 0.25, 2.0]
    )
    found = COLOUR.prepare(images)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected.permute(0, 3, 1, 2), atol=1e-6, rtol=0)


def test_grey_becomes_rgb_by_repetition() -> None:
    images = pixels(3, 8, 6, 1)
    assert torch.equal(COLOUR.prepare(images), COLOUR.prepare(images.expand(-1, -1, -1, 3)))


def test_rgb_becomes_grey_as_pillow_does_it() -> None:
    images = pixels(3, 8, 6, 3)
    by_pillow = np.stack([np.asarray(Image.fromarray(one.numpy()).convert("L")) for one in images])
    expected = GREY.prepare(torch.from_numpy(by_pillow[..., None].copy()))
    found = GREY.prepare(images)
    assert found.shape == (3, 1, 8, 6)
    assert float((found - expected).abs().max()) <= 1.01 / 255 / 0.5  # Pillow rounds


def test_grey_is_the_same_by_way_of_rgb() -> None:
    images = pixels(3, 8, 6, 1)
    found = GREY.prepare(images.expand(-1, -1, -1, 3))
    torch.testing.assert_close(found, GREY.prepare(images), atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(2, 16, 12, 3), (2, 3, 5, 3), (2, 1, 1, 1), (2, 40, 6, 1)])
@pytest.mark.parametrize("preprocessing", [GREY, COLOUR])
def test_other_sizes_are_resized(shape: tuple[int, ...], preprocessing: Preprocessing) -> None:
    found = preprocessing.prepare(pixels(*shape))
    assert found.shape == (2, preprocessing.channels, 8, 6)
    assert bool(torch.isfinite(found).all())


def test_resizing_is_close_to_pillow_s_and_keeps_a_flat_image_flat() -> None:
    images = pixels(2, 20, 15, 1)
    plain = Preprocessing(size=(8, 6), channels=1, mean=(0.0,), std=(1.0,))
    by_pillow = np.stack(
        [
            np.asarray(
                Image.fromarray(one[..., 0].numpy()).resize((6, 8), Image.Resampling.BILINEAR)
            )
            for one in images
        ]
    )
    difference = plain.prepare(images)[:, 0].numpy() - by_pillow / 255
    assert float(np.abs(difference).max()) <= 1.5 / 255
    flat = torch.full((1, 20, 15, 1), 51, dtype=torch.uint8)
    torch.testing.assert_close(plain.prepare(flat), torch.full((1, 1, 8, 6), 0.2))


@pytest.mark.parametrize("shape", [(5, 8, 6, 3), (5, 20, 15, 3), (5, 20, 15, 1), (5, 3, 3, 1)])
@pytest.mark.parametrize("preprocessing", [GREY, COLOUR])
def test_a_batch_is_prepared_as_its_images_one_by_one(
    shape: tuple[int, ...], preprocessing: Preprocessing
) -> None:
    images = pixels(*shape)
    before = images.clone()
    together = preprocessing.prepare(images)
    alone = torch.cat([preprocessing.prepare(one[None]) for one in images])
    assert torch.equal(together, alone)
    assert torch.equal(images, before)


def test_a_tall_and_narrow_image_is_cut_down_before_it_is_widened() -> None:
    wide = Preprocessing(size=(8, 512), channels=1, mean=(0.25,), std=(0.5,))
    image = pixels(1, 2**22, 1, 1)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    now = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**30, limits[1]))  # widened first: 8 GiB
    try:
        found = wide.prepare(image)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    means = image.double().reshape(8, -1).mean(dim=1) / 255
    expected = ((means - 0.25) / 0.5).float().view(1, 1, 8, 1).expand(found.shape)
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0)


@pytest.mark.parametrize("shape", [(3, 8, 6, 1), (3, 8, 6, 3), (3, 20, 15, 3)])
def test_floats_from_0_to_1_are_the_pixels_that_they_were(shape: tuple[int, ...]) -> None:
    images = pixels(*shape)
    torch.testing.assert_close(GREY.prepare(images.float() / 255), GREY.prepare(images))


def test_an_empty_batch_stays_empty() -> None:
    assert GREY.prepare(pixels(0, 8, 6, 3)).shape == (0, 1, 8, 6)
    assert GREY.prepare(pixels(0, 9, 9, 1)).shape == (0, 1, 8, 6)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 8, 6, 1, dtype=torch.float64),
        torch.zeros(2, 8, 6, 2, dtype=torch.uint8),
        torch.zeros(2, 8, 6, 2),
        torch.zeros(2, 8, 6, 4, dtype=torch.uint8),
        torch.zeros(8, 6, 1, dtype=torch.uint8),
        torch.zeros(2, 8, 6, dtype=torch.uint8),
        torch.zeros(2, 8, 6, 1, dtype=torch.int64),
    ],
)
def test_anything_but_images_of_pixels_or_floats_is_refused(images: torch.Tensor) -> None:
    with pytest.raises(DataError, match=r"expected uint8 or float32 images of shape \(N, height"):
        GREY.prepare(images)


@pytest.mark.parametrize("preprocessing", [GREY, COLOUR])
def test_preprocessing_comes_back_from_json(preprocessing: Preprocessing) -> None:
    again = Preprocessing.model_validate_json(preprocessing.model_dump_json())
    assert again == preprocessing
    assert hash(again) == hash(preprocessing)
    images = pixels(2, 9, 9, 3)
    assert torch.equal(again.prepare(images), preprocessing.prepare(images))


@pytest.mark.parametrize(
    "change",
    [
        {"size": (0, 6)},
        {"size": (8, 5000)},
        {"size": (8,)},
        {"channels": 2},
        {"channels": 3},
        {"mean": (0.1, 0.2)},
        {"mean": (float("nan"),)},
        {"std": (0.0,)},
        {"std": (-1.0,)},
        {"std": (float("inf"),)},
        {"std": ()},
        {"unheard_of": 1},
    ],
)
def test_values_that_do_not_fit_are_refused(change: dict[str, Any]) -> None:
    fields = {"size": (8, 6), "channels": 1, "mean": (0.25,), "std": (0.5,), **change}
    with pytest.raises(ValidationError):
        Preprocessing.model_validate(fields)


@pytest.mark.parametrize("there", [1, 3])
@pytest.mark.parametrize("channels", [1, 3, None])
def test_fitted_preprocessing_gives_mean_0_and_std_1_a_channel(
    there: int, channels: Literal[1, 3] | None
) -> None:
    images = (pixels(50, 8, 6, there).float() ** 1.5 / 16).to(torch.uint8).numpy()
    one = ImageSet(images, np.zeros(50, dtype=np.int64), ("a",))
    fitted = Preprocessing.fitted(one, channels=channels)
    assert (fitted.size, fitted.channels) == ((8, 6), channels or there)
    prepared = fitted.prepare(torch.from_numpy(images))
    assert prepared.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert (prepared.std(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-4


def test_fitting_to_images_of_one_colour_gives_finite_values() -> None:
    flat = ImageSet(np.full((3, 4, 4, 1), 7, np.uint8), np.zeros(3, np.int64), ("a",))
    fitted = Preprocessing.fitted(flat)
    assert bool(torch.isfinite(fitted.prepare(torch.from_numpy(flat.images))).all())


def test_fitting_to_no_images_is_refused() -> None:
    none = ImageSet(np.zeros((0, 4, 4, 1), np.uint8), np.zeros(0, np.int64), ("a",))
    with pytest.raises(DataError, match="without images"):
        Preprocessing.fitted(none)


def test_read_only_images_become_tensors_without_a_warning() -> None:
    images = np.arange(12, dtype=np.uint8).reshape(1, 3, 4, 1)
    images.flags.writeable = False
    assert as_tensor(images).numpy().tolist() == images.tolist()
