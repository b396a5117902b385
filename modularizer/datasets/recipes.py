"""One way in to all data: a recipe's name, an ``.npz`` file or an image folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.digits import read_digits
from modularizer.datasets.folder import load_folder
from modularizer.datasets.npz import load_npz, read_npz
from modularizer.datasets.published import PublishedSets
from modularizer.datasets.splits import split_images
from modularizer.datasets.torchvision_sets import read_cifar10, read_cifar100, read_svhn
from modularizer.datasets.weak_sets import (
    TARGET_TEST_IMAGES,
    cifar100_weak_classes,
    with_target_class,
)
from modularizer.errors import DataError

_LOG = logging.getLogger(__name__)
_SUBSET = "cifar100-subset"

# Published data sets: the file that stands in for a download where it lies in the data
# folder, and the reader to use where it doesn't.
_PUBLISHED: dict[str, tuple[str, Callable[[Path], PublishedSets]]] = {
    "cifar10": ("cifar10.npz", read_cifar10),
    _SUBSET: ("cifar100_subset.npz", read_cifar100),
    "svhn": ("svhn.npz", read_svhn),
}


def load_data(
    source: str,
    *,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    data_dir: Path | None = None,
    size: tuple[int, int] | None = None,
) -> DataSplits:
    """Load any data set that patchbay knows, split once and for all by the seed.

    A recipe's name comes before a path; write ``./digits`` for a folder of that name.

    ========================  ===========================================================
    ``digits``                1,797 scans of digits, 8 x 8 grey, split 40 / 30 / 30
    ``cifar10``               40,000 / 10,000 / 10,000 images, 32 x 32 RGB
    ``cifar100-subset:TC``    nine CIFAR-100 classes and CIFAR-10's class TC, 400 / 100 / 100
                              images of each; see `load_cifar100_subset`
    ``svhn``                  train and extra, a fifth of them for validation; official test
    ``FILE.npz``              see `modularizer.datasets.npz.read_npz`
    ``FOLDER``                see `modularizer.datasets.folder.load_folder`
    ========================  ===========================================================

    ``cifar10``, ``cifar100-subset`` and ``svhn`` are read from ``cifar10.npz``,
    ``cifar100_subset.npz`` and ``svhn.npz`` in the data folder where these are present, and
    through torchvision otherwise, which downloads what is absent. The splits are the same.

    Args:
        source: a recipe's name or a path.
        seed: of every random choice, 0 or more.
        classes: the classes to keep, in this order; None for all. An image stays in the split it
            is in without this.
        data_dir: where recipes find and put their files; None for the environment's
            ``PATCHBAY_DATA``, or ``./data``.
        size: (height, width) to resize the images of a folder to.

    Returns:
        Train, validation and test.

    Raises:
        DataError: if the source is unknown, its files are missing or broken, or a class is.

    Example:
        >>> splits = load_data("digits", classes=["0", "1"])
        >>> splits.class_names, len(splits.train) > len(splits.test)
        (('0', '1'), True)
    """
    splits = _load(source, seed=seed, data_dir=data_dir, size=size)
    return splits if classes is None else splits.only(classes)


def load_cifar100_subset(
    target: str,
    *,
    seed: int = 0,
    data_dir: Path | None = None,
    target_test_images: int | None = TARGET_TEST_IMAGES,
) -> DataSplits:
    """The data of the paper's weak CIFAR model with this target class (section 5.2).

    400 training and 100 validation images of each class from the official 500, the official 100
    for testing; of ``target``, a class of CIFAR-10, 400 training and 100 validation images from
    the strong model's own parts of the same seed (see
    `modularizer.datasets.weak_sets.with_target_class` for why) and the first
    ``target_test_images`` test images, None for all.

    Raises:
        DataError: if the target class is unknown, or files are missing or broken.
    """
    cifar100_weak_classes(target)  # an unknown target class is refused before anything is read
    return with_target_class(
        read_published(_SUBSET, data_dir),
        read_published("cifar10", data_dir),
        target,
        source=f"{_SUBSET}:{target}",
        seed=seed,
        test_images=target_test_images,
    )


def recipe_names() -> tuple[str, ...]:
    """Every recipe that `load_data` knows, as it is written; TC stands for a CIFAR-10 class."""
    return ("digits", "cifar10", f"{_SUBSET}:TC", "svhn")


def _load(
    source: str, *, seed: int, data_dir: Path | None, size: tuple[int, int] | None
) -> DataSplits:
    path = Path(source)
    name, _, target = source.partition(":")
    is_recipe = source in ("digits", "cifar10", "svhn") or name == _SUBSET
    if source and not is_recipe and path.is_dir():
        return load_folder(path, size=size, seed=seed)
    if size is not None:
        raise DataError(f"size is for image folders; the images of {source} have theirs")
    if source == "digits":
        return split_images(read_digits(), source=source, seed=seed)
    if name == _SUBSET:
        return load_cifar100_subset(target, seed=seed, data_dir=data_dir)
    if is_recipe:
        return read_published(source, data_dir).split(source=source, seed=seed)
    if path.suffix.lower() == ".npz":
        return load_npz(path, seed=seed)
    raise DataError(
        f"no data {source!r}; expected a recipe ({', '.join(recipe_names())}; TC is a class of "
        "CIFAR-10), the path of an .npz file, or the path of a folder with a folder of images "
        "for each class"
    )


def read_published(name: str, data_dir: Path | None = None) -> PublishedSets:
    """A published data set as it is, before it is split.

    Args:
        name: ``cifar10``, ``cifar100-subset`` or ``svhn``.
        data_dir: see `load_data`.

    Raises:
        DataError: if files are missing or broken.
    """
    folder = data_dir or Path(os.environ.get("PATCHBAY_DATA") or "data")
    file_name, read_original = _PUBLISHED[name]
    file = folder / file_name
    _LOG.info("%s is read from %s", name, file if file.is_file() else folder)
    return read_npz(file) if file.is_file() else read_original(folder)
