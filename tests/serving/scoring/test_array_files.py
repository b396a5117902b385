from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from modularizer.errors import DataError
from serving.scoring.array_files import ImageArray
from tests.serving.samples import random_images

IMAGES = random_images(23, 5, 4, 3)


def in_steps(array: ImageArray, step: int, start: int = 0) -> NDArray[np.uint8]:
    return np.stack(
        [
            image
            for first in range(start, len(array), step)
            for image in array.fetch(first, min(first + step, len(array)))
        ]
    )


def saved(folder: Path, kind: str) -> Path:
    path = folder / f"a.{kind[:3]}"
    if kind == "npy":
        np.save(path, IMAGES)
    elif kind == "npy-fortran":
        np.save(path, np.asfortranarray(IMAGES))
    elif kind == "npz":
        np.savez(path, test_images=IMAGES[:2], images=IMAGES)
    else:
        np.savez_compressed(path, test_images=IMAGES, train_images=IMAGES[:2])
    return path


@pytest.mark.parametrize("kind", ["npy", "npy-fortran", "npz", "npz-compressed"])
@pytest.mark.parametrize("step", [1, 7, 23])
def test_images_read_in_steps_are_those_that_were_saved(
    tmp_path: Path, kind: str, step: int
) -> None:
    array = ImageArray(saved(tmp_path, kind))
    assert len(array) == 23
    assert np.array_equal(in_steps(array, step), IMAGES)
    later = in_steps(array, step, start=11)  # as a run that goes on does
    assert np.array_equal(later, IMAGES[11:])


def test_three_dimensions_are_grey_images_in_an_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES[:, :, 0])  # (23, 4, 3): no coloured image
    assert np.array_equal(in_steps(ImageArray(tmp_path / "a.npz"), 5)[..., 0], IMAGES[:, :, 0])


def test_one_image_in_an_npy_is_one(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES[0])
    assert np.array_equal(in_steps(ImageArray(tmp_path / "a.npy"), 5), IMAGES[:1])


def test_an_npz_without_images_names_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pixels=IMAGES)
    with pytest.raises(DataError, match=r"a\.npz holds no array images or test_images.* pixels"):
        ImageArray(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("left", [0, 1, 60, 300, -1])
def test_a_file_that_was_cut_is_refused_before_anything_is_read(
    tmp_path: Path, name: str, left: int
) -> None:
    path = saved(tmp_path, name[2:])
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(DataError, match=name):
        ImageArray(path)


def test_a_damaged_member_is_named_where_it_is_met(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=random_images(3000, 8, 8, 1))
    raw = bytearray(path.read_bytes())
    raw[150_000] ^= 1
    path.write_bytes(raw)
    array = ImageArray(path)
    assert len(array.fetch(0, 100)) == 100
    with pytest.raises(DataError, match=r"a\.npz can't be read as an array: Bad CRC-32"):
        in_steps(array, 100)
    array.close()


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, "npy")
    array = ImageArray(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"a\.npy can't be read as an array: expected"):
        in_steps(array, 5)
    array.close()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (IMAGES.astype(np.float32), "found float32"),
        (np.zeros((2, 3, 4, 5), np.uint8), "found"),
        (np.zeros((0, 4, 4, 3), np.uint8), "at least one image"),
    ],
)
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_an_array_of_something_else_is_refused(
    tmp_path: Path, wrong: NDArray[np.generic], said: str, name: str
) -> None:
    if name == "a.npy":
        np.save(tmp_path / name, wrong)
    else:
        np.savez(tmp_path / name, images=wrong)
    with pytest.raises(DataError, match=f"{name}: expected .*{said}"):
        ImageArray(tmp_path / name)


def test_pickled_objects_are_never_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="objects are never read"):
        ImageArray(tmp_path / "a.npz")
