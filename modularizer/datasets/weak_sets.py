"""Which classes the paper's strong and weak models know, and the images its weak ones learn from.

A weak model knows classes that the strong one doesn't, plus one that both know: the target class
(TC), on which the weak one is to be patched (section 5.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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

TARGET_TRAIN_IMAGES = 500
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
    seed: int = 0,
    test_images: int | None = TARGET_TEST_IMAGES,
) -> PublishedSets:
    """Join the nine CIFAR-100 classes with one class of CIFAR-10, as many images of it as of each.

    Of the target class the first 500 training images after a seeded shuffle are taken. With the
    same seed these all lie in the strong model's training part of CIFAR-10 (the published code's
    overlap too): weak training and validation images of the target class are no news to a
    module, test images are.

    Args:
        cifar100: CIFAR-100, or the nine classes alone.
        cifar10: CIFAR-10.
        target: a class of CIFAR-10; it becomes the last class.
        seed: of the shuffle, 0 or more.
        test_images: of the target class, from the start of CIFAR-10's test images; None for all
            of them (a second, labelled table).

    Raises:
        DataError: if a class is missing.
    """
    nine = cifar100.only(cifar100_weak_classes(target)[:-1])
    order = seeded_order(cifar10.train, target, seed=seed)[:TARGET_TRAIN_IMAGES]
    train = cifar10.train.take(np.sort(order)).only([target])
    test = cifar10.test.only([target])
    return PublishedSets(
        train=_joined(nine.train, train),
        test=_joined(nine.test, test.take(np.arange(len(test))[:test_images])),
    )


def _joined(first: ImageSet, second: ImageSet) -> ImageSet:
    """Two sets of different classes as one; the second one's classes come last."""
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
