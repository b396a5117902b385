"""Image folders: the folders' names say what is what."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.folder import load_folder
from modularizer.errors import DataError


def fill(folder: Path, count: int, *, start: int = 0, side: int = 2) -> None:
    """Images ``start`` and on, each filled with its number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        pixels = np.full((side, side), number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")


def numbers(splits: DataSplits) -> list[list[int]]:
    return [
        sorted(part.images[:, 0, 0, 0].tolist())
        for part in (splits.train, splits.validation, splits.test.open("a test"))
    ]


@pytest.mark.parametrize("layout", ["", "train"])
def test_class_folders_alone_are_split_forty_thirty_thirty(tmp_path: Path, layout: str) -> None:
    fill(tmp_path / layout / "dog", 10)
    fill(tmp_path / layout / "cat", 20, start=10)
    splits = load_folder(tmp_path, seed=5)
    assert splits.class_names == ("cat", "dog")
    parts = numbers(splits)
    assert [len(part) for part in parts] == [12, 9, 9]
    assert sorted(chain(*parts)) == list(range(30))
    assert (splits.train.of_class("dog") < 10).all()
    assert splits.source == tmp_path.name
    assert splits.fingerprint == load_folder(tmp_path, seed=5).fingerprint
    assert splits.fingerprint != load_folder(tmp_path, seed=6).fingerprint


def test_a_test_folder_is_the_test_set(tmp_path: Path) -> None:
    fill(tmp_path / "train" / "cat", 10)
    fill(tmp_path / "test" / "cat", 3, start=50)
    train, validation, test = numbers(load_folder(tmp_path))
    assert (len(train), len(validation), test) == (8, 2, [50, 51, 52])


@pytest.mark.parametrize("name", ["val", "validation"])
def test_three_folders_are_the_three_splits(tmp_path: Path, name: str) -> None:
    for place, start in (("train", 0), (name, 20), ("test", 40)):
        fill(tmp_path / place / "cat", 2, start=start)
    assert numbers(load_folder(tmp_path)) == [[0, 1], [20, 21], [40, 41]]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    fill(tmp_path / "train", 3)
    fill(tmp_path / "plane", 3, start=10)
    assert load_folder(tmp_path).class_names == ("plane", "train")


def test_sizes_are_brought_to_one(tmp_path: Path) -> None:
    fill(tmp_path / "cat", 3)
    fill(tmp_path / "dog", 3, side=5)
    assert load_folder(tmp_path, size=(4, 3)).train.images.shape == (2, 4, 3, 1)
    with pytest.raises(DataError, match=r"cat.000\.png is 2 x 2 and .*dog.000\.png is 5 x 5"):
        load_folder(tmp_path)


def test_hidden_files_other_files_and_links_that_lead_out_are_left_out(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    fill(root / "cat", 3)
    fill(outside, 1, start=90)
    (root / "cat" / ".hidden.png").write_bytes(b"broken")
    (root / "cat" / "notes.txt").write_text("no image")
    (root / "cat" / "deeper.png").mkdir()
    (root / "cat" / "loop.png").symlink_to(root / "cat" / "loop.png")
    (root / "cat" / "out.png").symlink_to(outside / "090.png")
    (root / "stolen").symlink_to(outside)
    (root / ".cache").mkdir()
    (root / "README.md").write_text("no folder")
    splits = load_folder(root)
    assert splits.class_names == ("cat",)
    assert sorted(chain(*numbers(splits))) == [0, 1, 2]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*absent; expected one with a folder of imag"):
        load_folder(tmp_path / "absent")


def test_a_folder_without_images_says_what_was_expected(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with pytest.raises(DataError, match=r"holds no image; expected CLASS/FILE with a suffix of \."):
        load_folder(tmp_path)


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "cat", 3)
    fill(tmp_path / "dog", 0)
    with pytest.raises(DataError, match="but class 'dog' has 0; add images or leave the class out"):
        load_folder(tmp_path)


@pytest.mark.parametrize("others", [["test"], ["test", "val"]])
@pytest.mark.parametrize("missing_in", ["train", "test"])
def test_a_class_missing_in_one_part_is_named(
    tmp_path: Path, others: list[str], missing_in: str
) -> None:
    for place in ["train", *others]:
        fill(tmp_path / place / "cat", 3)
        fill(tmp_path / place / "dog", 0 if place == missing_in else 3)
    with pytest.raises(DataError, match=r"images? of every class, but class 'dog' has 0"):
        load_folder(tmp_path)


def test_a_test_folder_without_images_is_not_overlooked(tmp_path: Path) -> None:
    fill(tmp_path / "train" / "cat", 10)
    fill(tmp_path / "test" / "cat", 0)
    with pytest.raises(DataError, match=r"test must have at least 1 image .* class 'cat' has 0"):
        load_folder(tmp_path)


def test_a_test_folder_without_class_folders_is_not_overlooked(tmp_path: Path) -> None:
    fill(tmp_path / "train" / "cat", 10)
    fill(tmp_path / "test", 3)
    with pytest.raises(DataError, match=r"test has no folder; expected one for each class, like"):
        load_folder(tmp_path)


@pytest.mark.parametrize("other", [["cat"], ["val", "validation"]])
def test_an_unclear_mixture_of_folders_is_refused(tmp_path: Path, other: list[str]) -> None:
    for place in ["train", *other]:
        fill(tmp_path / place / "cat", 3)
    with pytest.raises(DataError, match="beside train/ expected only test/ and one of validation"):
        load_folder(tmp_path)


def test_validation_without_test_is_refused(tmp_path: Path) -> None:
    for place in ("train", "val"):
        fill(tmp_path / place / "cat", 3)
    with pytest.raises(DataError, match="found train and validation, but no test/"):
        load_folder(tmp_path)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "cat", 3)
    (tmp_path / "cat" / "001.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(DataError, match=r"001\.png can't be read as an image"):
        load_folder(tmp_path)


def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"can't be listed \(not yours\); check its permissions"):
        load_folder(tmp_path)
