"""One way in: recipes, files and folders by one string."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modularizer.datasets.recipes import load_cifar100_subset, load_data, recipe_names
from modularizer.datasets.weak_sets import (
    CIFAR10_CLASSES,
    CIFAR100_WEAK,
    DIGITS_STRONG,
    digits_weak_classes,
)
from modularizer.errors import DataError


def write_npz(path: Path, names: tuple[str, ...], train: int, test: int) -> None:
    """Made images, so many of each class."""
    rng = np.random.default_rng(len(names))
    arrays: dict[str, Any] = {}
    for part, per_class in (("train", train), ("test", test)):
        labels = np.tile(np.arange(len(names), dtype=np.uint8), per_class)
        arrays[f"{part}_labels"] = labels
        arrays[f"{part}_images"] = rng.integers(0, 256, (len(labels), 4, 4, 3), dtype=np.uint8)
    np.savez(path, class_names=np.array(names), **arrays)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    write_npz(tmp_path / "cifar10.npz", CIFAR10_CLASSES, train=10, test=4)
    write_npz(tmp_path / "cifar100_subset.npz", CIFAR100_WEAK, train=5, test=2)
    write_npz(tmp_path / "svhn.npz", tuple("0123456789"), train=5, test=2)
    return tmp_path


def test_digits_are_split_forty_thirty_thirty_and_the_same_every_time() -> None:
    splits = load_data("digits", seed=2)
    sizes = np.array([len(splits.train), len(splits.validation), len(splits.test)])
    assert sizes.sum() == 1797
    assert np.abs(sizes / 1797 - [0.4, 0.3, 0.3]).max() < 0.005
    assert splits.source == "digits"
    assert splits.fingerprint == load_data("digits", seed=2).fingerprint
    assert splits.fingerprint != load_data("digits", seed=3).fingerprint


def test_choosing_classes_moves_no_image_between_splits() -> None:
    weak = load_data("digits", classes=digits_weak_classes("3"))
    assert weak.class_names == ("6", "7", "8", "9", "3")
    strong = load_data("digits", classes=DIGITS_STRONG)
    assert np.array_equal(
        weak.test.open("a test").of_class("3"), strong.test.open("a test").of_class("3")
    )
    with pytest.raises(DataError, match="no class 'ten' here; the classes are 0, 1"):
        load_data("digits", classes=["ten"])


def test_recipes_read_npz_files_where_these_are_present(data_dir: Path) -> None:
    cifar10 = load_data("cifar10", data_dir=data_dir)
    assert [len(cifar10.train), len(cifar10.validation), len(cifar10.test)] == [80, 20, 40]
    assert cifar10.source == "cifar10"
    svhn = load_data("svhn", data_dir=data_dir, classes=DIGITS_STRONG)
    assert [len(svhn.train), len(svhn.validation), len(svhn.test)] == [20, 5, 10]


def test_the_subset_recipe_names_its_target_class(data_dir: Path) -> None:
    splits = load_data("cifar100-subset:cat", seed=1, data_dir=data_dir)
    assert splits.class_names == (*CIFAR100_WEAK, "cat")
    assert splits.source == "cifar100-subset:cat"
    assert splits.fingerprint == load_cifar100_subset("cat", seed=1, data_dir=data_dir).fingerprint
    few = load_cifar100_subset("cat", data_dir=data_dir, target_test_images=1)
    assert len(few.test.open("a test").of_class("cat")) == 1


@pytest.mark.parametrize("source", ["cifar100-subset", "cifar100-subset:", "cifar100-subset:rose"])
def test_the_subset_needs_a_known_target_class(source: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the target class must be one that the strong model know"):
        load_data(source, data_dir=tmp_path)


def test_the_data_folder_is_the_environments(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBAY_DATA", str(data_dir))
    assert len(load_data("cifar10").test) == 40


def test_the_data_folder_is_data_by_default(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PATCHBAY_DATA", raising=False)
    here = data_dir / "here"
    here.mkdir()
    (here / "data").symlink_to(data_dir)
    monkeypatch.chdir(here)
    assert len(load_data("cifar10").test) == 40


def test_a_path_to_an_npz_file_is_read(data_dir: Path) -> None:
    splits = load_data(str(data_dir / "cifar10.npz"))
    assert splits.source == "cifar10.npz"
    assert splits.fingerprint == load_data("cifar10", data_dir=data_dir).fingerprint
    with pytest.raises(DataError, match=r"no file .*absent\.npz"):
        load_data(str(data_dir / "absent.npz"))


def test_a_path_to_a_folder_is_read_and_resized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        folder = tmp_path / "digits" / "cat"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 5)).save(folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    assert load_data("./digits", size=(3, 4)).train.images.shape == (1, 3, 4, 3)
    assert len(load_data("digits").class_names) == 10


def test_a_size_is_for_folders_alone() -> None:
    with pytest.raises(DataError, match="size is for image folders; the images of digits have"):
        load_data("digits", size=(16, 16))


@pytest.mark.parametrize("source", ["mnist", "digits:3", "", __file__])
def test_an_unknown_source_is_answered_with_what_is_known(source: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a recipe \(digits, cifar10, .*\.npz file, or"):
        load_data(source, data_dir=tmp_path)


def test_every_recipe_is_listed() -> None:
    assert recipe_names() == ("digits", "cifar10", "cifar100-subset:TC", "svhn")
