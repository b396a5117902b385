"""Published sets through torchvision: made files in its formats on disk, and no network."""

from __future__ import annotations

import pickle
import socket
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from scipy.io import savemat
from torchvision.datasets import CIFAR10, CIFAR100, SVHN

from modularizer.datasets.recipes import load_cifar100_subset, load_data
from modularizer.datasets.torchvision_sets import read_cifar10, read_cifar100, read_svhn
from modularizer.datasets.weak_sets import CIFAR10_CLASSES, CIFAR100_WEAK
from modularizer.errors import DataError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError("the network is off")

    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.fixture
def any_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision take made files for the published ones."""
    for dataset in (CIFAR10, CIFAR100):
        for files in ("train_list", "test_list"):
            unchecked = [[name, None] for name, _ in getattr(dataset, files)]
            monkeypatch.setattr(dataset, files, unchecked)
        monkeypatch.setattr(dataset, "meta", {**dataset.meta, "md5": None})
    unchecked_parts = {part: [*rest, None] for part, (*rest, _) in SVHN.split_list.items()}
    monkeypatch.setattr(SVHN, "split_list", unchecked_parts)


def write_cifar(root: Path, dataset: Any, names: tuple[str, ...], per_class: int) -> None:
    """Made CIFAR files with so many images of each class in every file."""
    folder = root / dataset.base_folder
    folder.mkdir(parents=True)
    key = "labels" if dataset is CIFAR10 else "fine_labels"
    for name, _ in [*dataset.train_list, *dataset.test_list]:
        labels = RNG.permutation(np.repeat(np.arange(len(names)), per_class)).tolist()
        planes = RNG.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": planes, key: labels}))
    meta = {dataset.meta["key"]: list(names)}
    (folder / dataset.meta["filename"]).write_bytes(pickle.dumps(meta))


def write_svhn(root: Path, **counts: int) -> dict[str, Any]:
    """Made SVHN files with so many images of each digit; gives what is in them."""
    written = {}
    for part, per_digit in counts.items():
        digits = np.tile(np.arange(1, 11, dtype=np.uint8), per_digit)  # 10 stands for 0
        pixels = RNG.integers(0, 256, (32, 32, 3, len(digits)), dtype=np.uint8)
        written[part] = {"X": pixels, "y": digits[:, np.newaxis]}
        savemat(root / f"{part}_32x32.mat", written[part])
    return written


CIFAR100_NAMES = tuple(sorted({*CIFAR100_WEAK, "aquarium_fish", "wolf"}))


@pytest.mark.usefixtures("any_checksum")
def test_cifar10_keeps_official_order_and_pixels(tmp_path: Path) -> None:
    write_cifar(tmp_path, CIFAR10, CIFAR10_CLASSES, 2)
    published = read_cifar10(tmp_path)
    assert published.train.images.shape == (100, 32, 32, 3)
    assert published.test.images.shape == (20, 32, 32, 3)
    assert published.train.class_names == CIFAR10_CLASSES
    batch = pickle.loads((tmp_path / "cifar-10-batches-py/data_batch_2").read_bytes())
    assert published.train.labels[20:40].tolist() == batch["labels"]
    red_of_first = batch["data"][0, :1024].reshape(32, 32)
    assert np.array_equal(published.train.images[20, :, :, 0], red_of_first)
    assert published.train.images.flags.c_contiguous


@pytest.mark.usefixtures("any_checksum")
def test_cifar10_recipe_is_split_by_class_and_seed(tmp_path: Path) -> None:
    write_cifar(tmp_path, CIFAR10, CIFAR10_CLASSES, 2)
    splits = load_data("cifar10", seed=1, data_dir=tmp_path)
    assert np.bincount(splits.train.labels).tolist() == [8] * 10
    assert np.bincount(splits.validation.labels).tolist() == [2] * 10
    assert splits.test.fingerprint == read_cifar10(tmp_path).test.fingerprint


@pytest.mark.usefixtures("any_checksum")
def test_the_subset_is_the_same_from_torchvision_and_from_npz(tmp_path: Path) -> None:
    write_cifar(tmp_path, CIFAR10, CIFAR10_CLASSES, 2)
    write_cifar(tmp_path, CIFAR100, CIFAR100_NAMES, 5)
    through_torchvision = load_cifar100_subset("cat", seed=3, data_dir=tmp_path)
    assert through_torchvision.class_names == (*CIFAR100_WEAK, "cat")
    stored = tmp_path / "stored"
    stored.mkdir()
    for name, published in {
        "cifar10.npz": read_cifar10(tmp_path),
        "cifar100_subset.npz": read_cifar100(tmp_path).only(CIFAR100_WEAK),
    }.items():
        np.savez(
            stored / name,
            train_images=published.train.images,
            train_labels=published.train.labels.astype(np.uint8),
            test_images=published.test.images,
            test_labels=published.test.labels.astype(np.uint8),
            class_names=published.train.class_names,
        )
    from_npz = load_cifar100_subset("cat", seed=3, data_dir=stored)
    assert from_npz.fingerprint == through_torchvision.fingerprint


@pytest.mark.usefixtures("any_checksum")
def test_svhn_joins_train_and_extra_and_calls_ten_zero(tmp_path: Path) -> None:
    written = write_svhn(tmp_path, train=2, extra=3, test=1)
    published = read_svhn(tmp_path)
    assert published.train.images.shape == (50, 32, 32, 3)
    assert published.train.images.flags.c_contiguous
    assert published.train.class_names == tuple("0123456789")
    assert published.train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 5
    assert np.array_equal(published.train.images[20], written["extra"]["X"][..., 0])
    assert np.array_equal(published.test.images[9], written["test"]["X"][..., 9])


@pytest.mark.usefixtures("any_checksum")
def test_svhn_takes_a_fifth_for_validation_and_gives_chosen_digits(tmp_path: Path) -> None:
    write_svhn(tmp_path, train=2, extra=3, test=1)
    splits = load_data("svhn", classes=["6", "7", "8", "9", "2"], data_dir=tmp_path)
    assert splits.class_names == ("6", "7", "8", "9", "2")
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [20, 5, 5]


def test_absent_cifar_files_and_no_network_are_one_error(tmp_path: Path) -> None:
    message = (
        r"expected cifar-10-batches-py/data_batch_1, .*batches.meta in .*data; not there, and "
        r"downloading failed \(.*network is off.*\)\. Put the files there, or set PATCHBAY_DATA"
    )
    with pytest.raises(DataError, match=message):
        read_cifar10(tmp_path / "data")


@pytest.mark.usefixtures("any_checksum")
def test_only_absent_svhn_files_are_named(tmp_path: Path) -> None:
    write_svhn(tmp_path, train=1)
    with pytest.raises(DataError, match=r"^expected test_32x32\.mat, extra_32x32\.mat in "):
        read_svhn(tmp_path)


@pytest.mark.parametrize("reader", [read_cifar10, read_cifar100, read_svhn])
def test_files_that_differ_from_the_published_ones_are_not_downloaded_again(
    tmp_path: Path, reader: Any
) -> None:
    write_cifar(tmp_path, CIFAR10, CIFAR10_CLASSES, 1)
    write_cifar(tmp_path, CIFAR100, CIFAR100_NAMES, 1)
    write_svhn(tmp_path, train=1, extra=1, test=1)
    with pytest.raises(DataError, match=r"a file differs from the published one\. Delete what is"):
        reader(tmp_path)
