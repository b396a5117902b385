"""CIFAR-10, CIFAR-100 and SVHN as published, through torchvision."""

from __future__ import annotations

import http.client
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modularizer.datasets.images import ImageSet
from modularizer.datasets.published import PublishedSets
from modularizer.errors import DataError

_FAILURES = (
    OSError,  # no network, no room, no permission
    RuntimeError,  # torchvision: a checksum differs
    ValueError,
    EOFError,
    http.client.HTTPException,
    tarfile.TarError,
)


def read_cifar10(data_dir: Path) -> PublishedSets:
    """CIFAR-10 in its official order: 50,000 training and 10,000 test images, 32 x 32 RGB.

    Args:
        data_dir: the folder that holds, or gets, ``cifar-10-batches-py/`` (170 MB to download).

    Raises:
        DataError: if files are absent and can't be downloaded, or differ from the originals.
    """
    from torchvision.datasets import CIFAR10  # slow to import: only when asked for

    return _read_cifar(CIFAR10, data_dir)


def read_cifar100(data_dir: Path) -> PublishedSets:
    """CIFAR-100 with its 100 fine classes: 500 training and 100 test images of each.

    Args:
        data_dir: the folder that holds, or gets, ``cifar-100-python/`` (169 MB to download).

    Raises:
        DataError: if files are absent and can't be downloaded, or differ from the originals.
    """
    from torchvision.datasets import CIFAR100

    return _read_cifar(CIFAR100, data_dir)


def read_svhn(data_dir: Path) -> PublishedSets:
    """SVHN's cropped digits: train and extra together (604,388 images) and 26,032 test images.

    The images alone take 1.9 GB; reading and splitting them takes 4.4 GB at its peak.

    Args:
        data_dir: the folder that holds, or gets, ``train_32x32.mat``, ``extra_32x32.mat`` and
            ``test_32x32.mat`` (1.6 GB to download).

    Raises:
        DataError: if files are absent and can't be downloaded, or differ from the originals.
    """
    from torchvision.datasets import SVHN

    files = [data_dir / name for _, name, _ in SVHN.split_list.values()]

    def read(*parts: str) -> ImageSet:
        loaded = [_open(SVHN, data_dir, files, split=part) for part in parts]
        labels = np.concatenate([np.atleast_1d(dataset.labels) for dataset in loaded])
        return ImageSet(
            _joined([dataset.data for dataset in loaded]),
            labels,
            tuple(str(digit) for digit in range(10)),
        )

    return PublishedSets(train=read("train", "extra"), test=read("test"))


def _read_cifar(dataset: Any, data_dir: Path) -> PublishedSets:
    folder = data_dir / dataset.base_folder
    listed = [*dataset.train_list, *dataset.test_list]
    files = [*(folder / name for name, _ in listed), folder / dataset.meta["filename"]]

    def read(*, train: bool) -> ImageSet:
        loaded = _open(dataset, data_dir, files, train=train)
        labels = np.array(loaded.targets, dtype=np.int64)
        return ImageSet(np.ascontiguousarray(loaded.data), labels, tuple(loaded.classes))

    return PublishedSets(train=read(train=True), test=read(train=False))


def _open(
    dataset: Callable[..., Any], data_dir: Path, files: Sequence[Path], **part: object
) -> Any:
    """Open a part of a torchvision data set; go to the network only if a file is absent."""
    absent = [file.relative_to(data_dir) for file in files if not file.is_file()]
    try:
        return dataset(data_dir, download=bool(absent), **part)
    except _FAILURES as error:
        if absent:
            names = ", ".join(str(file) for file in absent)
            raise DataError(
                f"expected {names} in {data_dir.resolve()}; not there, and downloading failed "
                f"({error}). Put the files there, or set PATCHBAY_DATA to a folder that has them"
            ) from error
        names = ", ".join(str(file.relative_to(data_dir)) for file in files)
        raise DataError(
            f"{names} in {data_dir.resolve()} can't be used ({error}); a file differs from the "
            "published one. Delete what is damaged to have it downloaded again"
        ) from error


def _joined(parts: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Arrays (N, C, H, W) as one contiguous (N, H, W, C), in one copy."""
    _, channels, height, width = parts[0].shape
    joined = np.empty((sum(map(len, parts)), height, width, channels), dtype=np.uint8)
    np.concatenate([part.transpose(0, 2, 3, 1) for part in parts], out=joined)
    return joined
