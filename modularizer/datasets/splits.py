"""Seeded, stratified splits: the same seed gives the same images, class by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.held_out import HeldOut
from modularizer.datasets.images import ImageSet
from modularizer.errors import DataError

DEFAULT_FRACTIONS = (0.4, 0.3, 0.3)


def split_images(
    images: ImageSet,
    *,
    source: str,
    seed: int = 0,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
) -> DataSplits:
    """Make train, validation and test out of images that nobody has split before.

    Args:
        images: the whole data set.
        source: where it came from, for the record.
        seed: decides which image goes where, 0 or more.
        fractions: shares of train, validation and test in each class; they sum to 1.

    Returns:
        Splits in which every image lies exactly once, in its original order.

    Raises:
        DataError: if a class has fewer images than there are parts, or if the fractions are
            not three, not positive, or don't sum to 1.

    Example:
        >>> pixels = np.zeros((20, 8, 8, 1), np.uint8)
        >>> images = ImageSet(pixels, np.repeat([0, 1], 10), ("cat", "dog"))
        >>> splits = split_images(images, source="made", seed=3)
        >>> len(splits.train), len(splits.validation), len(splits.test)
        (8, 6, 6)
    """
    if len(fractions) != 3:
        raise DataError(
            f"expected three fractions (train, validation, test), found {len(fractions)}"
        )
    train, validation, test = stratified_parts(images, fractions, seed=seed)
    return DataSplits(train, validation, HeldOut(test), source, seed)


def stratified_parts(
    images: ImageSet, fractions: Sequence[float], *, seed: int
) -> tuple[ImageSet, ...]:
    """Cut a set into parts that hold the same share of every class.

    A class is cut by itself: leaving out other classes, before or after, changes nothing.

    Args:
        images: the set to cut.
        fractions: share of each part, positive, summing to 1; rounded to whole images, with
            at least one image of each class in each part.
        seed: decides which image goes where, 0 or more.

    Returns:
        One set a fraction; disjoint, together the whole, each in the original order.

    Raises:
        DataError: if the fractions don't fit or a class has fewer images than parts.
    """
    if min(fractions, default=0.0) <= 0 or not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise DataError(f"fractions must be positive and sum to 1, found {tuple(fractions)}")
    require_every_class(images, "the images to split", at_least=len(fractions))
    part = np.empty(len(images), dtype=np.int64)
    for name in images.class_names:
        order = seeded_order(images, name, seed=seed)
        for number, positions in enumerate(np.split(order, _cuts(len(order), fractions))):
            part[positions] = number
    return tuple(images.take(np.flatnonzero(part == number)) for number in range(len(fractions)))


def seeded_order(images: ImageSet, class_name: str, *, seed: int) -> NDArray[np.int64]:
    """Where the images of one class lie, shuffled: int64 (images of the class,).

    The shuffle depends on the seed, the class's name and its number of images alone.

    Raises:
        DataError: if the class is unknown or the seed negative.
    """
    if seed < 0:
        raise DataError(f"a seed must be 0 or more, found {seed}")
    positions = np.flatnonzero(images.labels == images.class_index(class_name))
    return np.random.default_rng([seed, *class_name.encode()]).permutation(positions)


def require_every_class(images: ImageSet, place: str, *, at_least: int = 1) -> None:
    """Refuse a set in which a class has too few images.

    Raises:
        DataError: naming ``place`` and every class with fewer than ``at_least`` images.
    """
    counts = np.bincount(images.labels, minlength=len(images.class_names))
    few = [
        f"{name!r} has {count}"
        for name, count in zip(images.class_names, counts, strict=True)
        if count < at_least
    ]
    if few:
        raise DataError(
            f"{place} must have at least {at_least} image{'s' * (at_least > 1)} of every class, "
            f"but class {', '.join(few)}; add images or leave the class out"
        )


def with_validation_images(data: DataSplits, count: int, *, seed: int) -> DataSplits:
    """The same data with ``count`` validation images, as even over classes as they allow.

    Args:
        data: splits; where it has fewer validation images, all of them stay.
        count: how many, at least one a class.
        seed: which ones.

    Raises:
        DataError: if there are fewer images than classes, or a class has none.
    """
    images = data.validation
    require_every_class(images, "the validation images")
    if count < len(images.class_names):
        raise DataError(
            f"{count} images are fewer than the {len(images.class_names)} classes; each needs one"
        )
    orders = [seeded_order(images, name, seed=seed) for name in images.class_names]
    shares = even_shares([len(order) for order in orders], count)
    chosen = [order[:share] for order, share in zip(orders, shares, strict=True)]
    return replace(data, validation=images.take(np.sort(np.concatenate(chosen))))


def even_shares(available: Sequence[int], count: int) -> list[int]:
    """Divide ``count`` as evenly as ``available`` allows; the first get what is left over."""
    shares = [0] * len(available)
    left = min(count, sum(available))
    while left:
        open_places = [place for place, most in enumerate(available) if shares[place] < most]
        for place in open_places[:left]:
            more = max(min(left // len(open_places), available[place] - shares[place]), 1)
            shares[place] += more
        left = min(count, sum(available)) - sum(shares)
    return shares


def _cuts(count: int, fractions: Sequence[float]) -> list[int]:
    """Where to cut ``count`` images: the nearest whole ones that leave no part empty."""
    cuts: list[int] = []
    for number, share in enumerate(np.cumsum(fractions)[:-1], start=1):
        nearest = math.floor(share * count + 0.5)
        smallest = cuts[-1] + 1 if cuts else 1
        cuts.append(min(max(nearest, smallest), count - (len(fractions) - number)))
    return cuts
