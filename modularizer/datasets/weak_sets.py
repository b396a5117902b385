"""Which classes the paper's strong and weak models know, and the images its weak ones learn from.

A weak model knows classes that the strong one doesn't, plus one that both know: the target class
(TC), on which the weak one is to be patched (section 5.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.held_out import HeldOut
from modularizer.datasets.images import ImageSet
from modularizer.datasets.published import PublishedSets
from modularizer.datasets.splits import seeded_order
from modularizer.errors import DataError

DIGITS_STRONG = ("0", "1", "2", "3", "4")
DIGITS_WEAK = ("6", "7", "8", "9")
CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
CIFAR100_WEAK = (
    "apple",
    "baby",
    "bed",
    "bicycle",
    "bottle",
    "bridge",
    "camel",
    "clock",
    "rose",
)

TARGET_TRAIN_IMAGES = 400
TARGET_VALIDATION_IMAGES = 100
TARGET_TEST_IMAGES = 100


def digits_weak_classes(target: str) -> tuple[str, ...]:
    """The classes of a weak model on digits or SVHN: 6, 7, 8, 9 and one strong class.

    Raises:
        DataError: if ``target`` is not one of the strong model's classes.

    Example:
        >>> digits_weak_classes("3")
        ('6', '7', '8', '9', '3')
    """
    return (*DIGITS_WEAK, _one_of(DIGITS_STRONG, target))


def cifar100_weak_classes(target: str) -> tuple[str, ...]:
    """The classes of a weak model on CIFAR: nine of CIFAR-100 and one of CIFAR-10.

    Raises:
        DataError: if ``target`` is not a class of CIFAR-10.

    Example:
        >>> cifar100_weak_classes("cat")[-2:]
        ('rose', 'cat')
    """
    return (*CIFAR100_WEAK, _one_of(CIFAR10_CLASSES, target))


def with_target_class(
    cifar100: PublishedSets,
    cifar10: PublishedSets,
    target: str,
    *,
    source: str,
    seed: int = 0,
    test_images: int | None = TARGET_TEST_IMAGES,
) -> DataSplits:
    """Nine CIFAR-100 classes and one of CIFAR-10, as many images of it as of each other.

    The strong model of the same seed has learnt from the training images of the target class, as
    in the published code. Its validation images are among the strong model's, too: neither model
    has learnt from them. Were they training images of the strong model, its modules would be
    surer of them than of any image to come, and so would every calibration fitted on them be.

    Args:
        cifar100: CIFAR-100, or the nine classes alone.
        cifar10: CIFAR-10.
        target: a class of CIFAR-10; it becomes the last class.
        source: where the data came from, for the record.
        seed: of the splits, 0 or more.
        test_images: of the target class, from the start of CIFAR-10's test images; None for all
            of them (a second, labelled table).

    Returns:
        Of each of the nine classes four fifths of the training images to learn from and one fifth
        to validate by, and all test images; of the target class 400, 100 and ``test_images``, or
        as many as there are.

    Raises:
        DataError: if a class is missing, or the images are not of one shape.
    """
    nine = cifar100.only(cifar100_weak_classes(target)[:-1]).split(source=source, seed=seed)
    own = cifar10.only([target]).split(source=source, seed=seed)
    train, validation = (
        part.take(np.sort(seeded_order(part, target, seed=seed)[:count]))
        for part, count in (
            (own.train, TARGET_TRAIN_IMAGES),
            (own.validation, TARGET_VALIDATION_IMAGES),
        )
    )
    test = cifar10.test.only([target])
    return DataSplits(
        _joined(nine.train, train),
        _joined(nine.validation, validation),
        HeldOut(
            _joined(
                cifar100.test.only(nine.class_names),
                test.take(np.arange(len(test))[:test_images]),
            )
        ),
        source,
        seed,
    )


def _joined(first: ImageSet, second: ImageSet) -> ImageSet:
    """Two sets of different classes as one; the second one's classes come last."""
    if first.images.shape[1:] != second.images.shape[1:]:
        shapes = (" x ".join(map(str, one.images.shape[1:])) for one in (first, second))
        raise DataError(f"images of {' and '.join(shapes)} can't be in one set")
    return ImageSet(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.labels, second.labels + len(first.class_names)]),
        first.class_names + second.class_names,
    )


def _one_of(classes: Sequence[str], target: str) -> str:
    if target not in classes:
        raise DataError(
            f"the target class must be one that the strong model knows ({', '.join(classes)}), "
            f"found {target!r}"
        )
    return target
