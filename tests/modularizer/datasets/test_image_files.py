"""Image files: upright, of one size, grey only if all are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from modularizer.datasets.image_files import read_image_files
from modularizer.errors import DataError

RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


def save(path: Path, pixels: NDArray[Any], mode: str | None = None, **options: Any) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def test_lossless_files_give_their_pixels_back(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    paths = [save(tmp_path / f"{i}.png", image) for i, image in enumerate(pixels)]
    assert np.array_equal(read_image_files(paths), pixels)


def test_images_are_grey_only_if_all_are(tmp_path: Path) -> None:
    grey, rgb = save(tmp_path / "a.png", RAMP), save(tmp_path / "b.png", RAMP, "RGB")
    assert np.array_equal(read_image_files([grey])[0, :, :, 0], RAMP)
    both = read_image_files([grey, rgb])
    assert both.shape == (2, 4, 6, 3)
    assert np.array_equal(both[0], both[1])


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("RGBA", 3)]
)
def test_every_8_bit_mode_is_read(tmp_path: Path, mode: str, channels: int) -> None:
    path = save(tmp_path / "a.png", RAMP, mode)
    assert read_image_files([path]).shape == (1, 4, 6, channels)


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RAMP, "P", transparency=b"\x00")  # of palette entry 0
    expected = np.where(RAMP == 0, 255, RAMP)
    assert np.array_equal(read_image_files([path])[0, :, :, 0], expected)


def test_a_turned_photograph_is_set_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show a quarter clockwise
    path = save(tmp_path / "a.png", RAMP, exif=exif)
    assert np.array_equal(read_image_files([path])[0, :, :, 0], np.rot90(RAMP, -1))


def test_a_size_is_height_by_width(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a.png", RAMP), save(tmp_path / "b.png", RAMP.T)]
    assert read_image_files(paths, size=(3, 5)).shape == (2, 3, 5, 1)


def test_different_sizes_name_two_files_and_the_way_out(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a.png", RAMP), save(tmp_path / "b.png", RAMP.T)]
    message = r"one size: .*a\.png is 4 x 6 and .*b\.png is 6 x 4 \(height x width\); give a size"
    with pytest.raises(DataError, match=message):
        read_image_files(paths)


def test_a_size_without_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"size must be \(height, width\), 1 or more"):
        read_image_files([save(tmp_path / "a.png", RAMP)], size=(0, 5))


@pytest.mark.parametrize("kept_bytes", [0, 20, 60])
def test_a_broken_file_is_named(tmp_path: Path, kept_bytes: int) -> None:
    path = save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (9, 9), np.uint8))
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(DataError, match=r"a\.png can't be read as an image \(.*\); repair it or"):
        read_image_files([path])


def test_16_bits_a_channel_become_8(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RAMP.astype(np.uint16) * 256)
    assert np.array_equal(read_image_files([path])[0, :, :, 0], RAMP)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tiff", RAMP.astype(np.float32))
    with pytest.raises(DataError, match=r"a\.tiff.*floating point"):
        read_image_files([path])
