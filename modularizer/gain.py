"""Whether one model tells a class better than another on the same images, by two tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]

_HALVES = (0.0, 0.5, 0.5, 0.0)  # of neither, the second model alone, the first alone, both


def gain_interval(
    is_target: Bools,
    first_right: Bools,
    second_right: Bools,
    *,
    alpha: float,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """The bootstrap interval of what a second model gains in F1 over a first one.

    Images are drawn anew within the class and within the others. As either is drawn from, half an
    image of it more is told rightly by the second model alone, and half an image more by the
    first one alone: Jeffreys' prior on which of the two is right where they differ. Without that,
    a class of a single image that the second model puts right gains 1 in every draw. With it
    three images put right prove nothing yet at 95 %, of however many, and hundreds hardly notice.

    Source: half an image in each cell of the pairs is Agresti and Min (Simple improved confidence
    intervals for comparing matched proportions, Statistics in Medicine 24, 2005); that half a hit
    and half a miss make intervals of few images hold, Brown, Cai and DasGupta (Interval estimation
    for a binomial proportion, Statistical Science 16, 2001). Unlike Agresti and Min, none is added
    where both models agree: that would pull both models' F1 to the middle, and of their
    difference it says nothing.

    Args:
        is_target: bool (N,), whether an image is of the class; some are, some are not.
        first_right: bool (N,), whether the first model tells it rightly: answers with the class
            where it is of the class, and with another where it isn't.
        second_right: bool (N,), whether the second one does.
        alpha: the share of draws outside the interval, on both sides together, (0, 1).
        draws: bootstrap samples.
        seed: of the draws.

    Returns:
        Its lower and its upper end, in F1.

    Example:
        >>> is_target = np.arange(100) < 10
        >>> low, high = gain_interval(is_target, ~is_target, np.full(100, True), alpha=0.05)
        >>> 0.5 < low < high == 1
        True
    """
    generator = np.random.default_rng(seed)
    hits, told_apart = (
        _right_in_draws(first_right[stratum], second_right[stratum], draws, generator)
        for stratum in (is_target, ~is_target)
    )
    images, others = int(is_target.sum()), int((~is_target).sum())
    f1 = 2 * hits / (images + hits + others - told_apart)
    low, high = np.percentile(f1[:, 1] - f1[:, 0], (50 * alpha, 100 - 50 * alpha))
    return float(low), float(high)


def mcnemar_p_value(first_right: Bools, second_right: Bools) -> float:
    """McNemar's exact test, on both sides, of two models on the same images; see `is_better`.

    Args:
        first_right: bool (N,), whether one model is right.
        second_right: bool (N,), whether the other is.

    Returns:
        How likely images that one model alone gets right fall apart as unevenly as here, or
        more, if none is better; 1 if there are none.

    Example:
        >>> mcnemar_p_value(np.array([True] * 5), np.array([False] * 5))
        0.0625
    """
    from scipy.stats import binomtest

    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    if not only_first + only_second:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)


def is_better(first_right: Bools, second_right: Bools) -> bool:
    """Whether more images are told rightly by the second model alone than by the first alone.

    McNemar's test says only that they differ. F1 may rise while fewer images are told rightly.

    Args:
        first_right: bool (N,), whether one model is right.
        second_right: bool (N,), whether the other is.
    """
    return int(second_right.sum()) > int(first_right.sum())


def _right_in_draws(
    first_right: Bools, second_right: Bools, draws: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """How many images of one stratum each model tells rightly: (draws, 2).

    Images that both models tell alike are all the same, so it is enough to draw how many there
    are of each of four kinds.
    """
    images = len(first_right)
    kinds = np.bincount(2 * first_right + second_right, minlength=4)
    shares = (kinds + _HALVES) / (images + 1)
    _, second_alone, first_alone, both = generator.multinomial(images, shares, size=draws).T
    return np.stack([first_alone + both, second_alone + both], axis=1)
