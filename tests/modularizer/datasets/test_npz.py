"""Data sets in .npz files: what is taken, and that nothing in them is run or believed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modularizer.datasets.npz import load_npz, read_npz
from modularizer.errors import DataError


def arrays(**changes: Any) -> dict[str, Any]:
    """A file's arrays, correct but for the changes; None takes an array out."""
    labels = np.repeat([0, 1], 10)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 4, 5, 3), dtype=np.uint8)
    correct = {
        "train_images": pixels,
        "train_labels": labels,
        "test_images": pixels[::-1],
        "test_labels": labels[::-1],
        "class_names": np.array(["cat", "dog"]),
    }
    return {name: value for name, value in {**correct, **changes}.items() if value is not None}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "made.npz"


def test_a_file_gives_its_arrays_back(file: Path) -> None:
    written = arrays()
    np.savez_compressed(file, **written)
    read = read_npz(file)
    assert np.array_equal(read.train.images, written["train_images"])
    assert np.array_equal(read.test.images, written["test_images"])
    assert read.test.labels.tolist() == written["test_labels"].tolist()
    assert read.train.class_names == ("cat", "dog")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "uint64", ">i4"])
def test_labels_of_any_width_become_int64(file: Path, dtype: str) -> None:
    np.savez(file, **arrays(train_labels=np.repeat([0, 1], 10).astype(dtype)))
    assert read_npz(file).train.labels.dtype == np.int64


def test_grey_images_without_a_channel_axis_get_one(file: Path) -> None:
    pixels = np.zeros((20, 4, 5), np.uint8)
    np.savez(file, **arrays(train_images=pixels, test_images=pixels))
    assert read_npz(file).train.images.shape == (20, 4, 5, 1)


def test_loading_keeps_test_and_takes_a_seeded_fifth_for_validation(file: Path) -> None:
    np.savez(file, **arrays())
    splits = load_npz(file, seed=3)
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [16, 4, 20]
    assert splits.source == "made.npz"
    assert splits.fingerprint == load_npz(file, seed=3).fingerprint
    assert splits.fingerprint != load_npz(file, seed=4).fingerprint
    assert splits.test.fingerprint == load_npz(file, seed=4).test.fingerprint
    assert len(load_npz(file, validation_fraction=0.5).validation) == 10


PIXELS = np.zeros((20, 4, 5, 3), np.uint8)
LABELS = np.repeat([0, 1], 10)
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "an array is missing": (
        {"test_labels": None},
        "lacks test_labels; expected train_images, .* found train_images, train_labels, test_im",
    ),
    "float images": (
        {"train_images": PIXELS.astype(np.float32)},
        r"train_images: expected uint8 images \(0-255\), found float32; scale",
    ),
    "NaN": (
        {"test_images": np.full(PIXELS.shape, np.nan)},
        r"test_images: expected uint8 .* found float64 \(with NaN\)",
    ),
    "object images": (
        {"train_images": np.array([{}] * 20, dtype=object)},
        "train_images can't be read as a plain array .* not as Python objects",
    ),
    "object names": (
        {"class_names": np.array(["cat", "dog"], dtype=object)},
        "class_names can't be read as a plain array",
    ),
    "four channels": (
        {"train_images": np.zeros((20, 4, 5, 4), np.uint8)},
        r"train_images: expected images of shape .* found \(20, 4, 5, 4\)",
    ),
    "two axes": ({"train_images": np.zeros((20, 4), np.uint8)}, "train_images: expected images"),
    "float labels": (
        {"train_labels": LABELS.astype(float)},
        r"train_labels: expected whole numbers \(an integer dtype\), found float64",
    ),
    "text labels": ({"train_labels": np.array(["cat"] * 20)}, "train_labels: expected whole"),
    "too few labels": (
        {"test_labels": LABELS[:7]},
        "test_labels: expected one int64 label for each of 20 images",
    ),
    "a label too high": (
        {"train_labels": LABELS + 1},
        r"train_labels: labels must lie in 0..1 \(one per class name\), found 1..2",
    ),
    "a label beyond int64": (
        {"train_labels": LABELS.astype(np.uint64) + np.uint64(2**63)},
        "train_labels: labels must lie in",
    ),
    "a negative label": ({"test_labels": LABELS - 1}, "test_labels: labels must .* found -1..0"),
    "a class without training images": (
        {"train_labels": LABELS * 0},
        "the images to split must have at least 2 images of every class, but class 'dog' has 0",
    ),
    "a class without test images": (
        {"test_labels": LABELS * 0},
        "test must have at least 1 image of every class, but class 'dog' has 0",
    ),
    "no test image": (
        {"test_images": PIXELS[:0], "test_labels": LABELS[:0]},
        "but class 'cat' has 0, 'dog' has 0",
    ),
    "other sizes": ({"test_images": PIXELS[:, :3]}, "bring them to one shape"),
    "numbers for names": (
        {"class_names": np.arange(2)},
        "class_names: expected a list of strings, at least one, found int64",
    ),
    "a name twice": (
        {"class_names": np.array(["cat", "cat"])},
        r"class_names: expected different names, none of them empty, found \['cat', 'cat'\]",
    ),
    "an empty name": ({"class_names": np.array(["cat", ""])}, "none of them empty"),
    "no names": ({"class_names": np.array([], dtype="U1")}, "at least one"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_an_array_is_one_error_that_names_file_and_array(file: Path, fault: str) -> None:
    changes, message = FAULTS[fault]
    np.savez(file, allow_pickle=True, **arrays(**changes))
    with pytest.raises(DataError, match=message) as caught:
        load_npz(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*made\.npz; expected an \.npz with train_im"):
        read_npz(file)


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"\x80\x04."])
def test_a_file_that_is_no_archive_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(
        DataError, match=r"is not an \.npz file \(no complete zip archive\); write it with"
    ):
        read_npz(file)


def test_a_file_that_was_cut_short_is_refused(file: Path) -> None:
    np.savez(file, **arrays())
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"made\.npz"):
        read_npz(file)


def test_a_damaged_array_is_named(file: Path) -> None:
    np.savez(file, **arrays())
    content = bytearray(file.read_bytes())
    content[600] ^= 255  # inside the first array's pixels
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"train_images can't be read as a plain array .*CRC"):
        read_npz(file)


def test_a_member_without_numpy_header_is_named(file: Path) -> None:
    np.savez(file, **arrays(class_names=None))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("class_names.npy", "cat, dog")
    with pytest.raises(DataError, match="class_names"):
        read_npz(file)
