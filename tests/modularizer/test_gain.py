from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, multinomial

from modularizer.gain import Bools, gain_interval, mcnemar_p_value
from modularizer.metrics import METRICS, resampled_metrics

NEITHER, SECOND_ALONE, FIRST_ALONE, BOTH = range(4)


def low_of(own: np.ndarray, others: np.ndarray) -> float:
    """The interval's lower end where so many images of the class and others are of each kind."""
    kinds = np.concatenate([np.repeat(np.arange(4), counts) for counts in (own, others)])
    is_target = np.arange(len(kinds)) < own.sum()
    return gain_interval(is_target, kinds >= FIRST_ALONE, kinds % 2 == 1, alpha=0.05)[0]


def fixed(images: int, of: int) -> float:
    """The same where the second model puts so many images of the class right, and changes none."""
    return low_of(np.array([of - images, images, 0, 0]), np.array([0, 0, 0, 9 * of]))


def models(seed: int, count: int) -> tuple[Bools, Bools, Bools]:
    """A tenth of the images of the class; models that are right on 60 and 70 % of it."""
    generator = np.random.default_rng(seed)
    is_target = np.arange(count) % 10 == 0
    first, second = (generator.random(count) < np.where(is_target, own, 0.97) for own in (0.6, 0.7))
    return is_target, first, second


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_with_many_images_it_is_the_plain_bootstrap(alpha: float) -> None:
    is_target, first, second = models(0, 20_000)
    labels = is_target.astype(np.int64)
    said = [np.where(right, labels, 1 - labels) for right in (first, second)]
    draws = resampled_metrics(labels, said, 1, draws=4000, seed=1)
    gains = (draws[1] - draws[0])[:, METRICS.index("f1")]
    plain = np.percentile(gains, (50 * alpha, 100 - 50 * alpha))
    found = gain_interval(is_target, first, second, alpha=alpha, draws=4000)
    assert plain[1] - plain[0] > 0.02
    np.testing.assert_allclose(found, plain, atol=0.0015)


def test_exchanging_the_models_turns_the_interval_round() -> None:
    is_target, first, second = models(0, 2000)
    low, high = gain_interval(is_target, first, second, alpha=0.05, draws=20_000)
    other_way = gain_interval(is_target, second, first, alpha=0.05, draws=20_000)
    np.testing.assert_allclose(other_way, (-high, -low), atol=0.005)


@pytest.mark.parametrize("of", [1, 2, 3, 10, 100, 1000])
def test_a_few_images_put_right_are_no_gain(of: int) -> None:
    for images in range(1, min(of, 3) + 1):
        assert fixed(images, of) <= 0, images
    if of > 3:
        assert fixed(8, of) > 0


# Where the models differ, each is right as often as the other. If all of five images are told
# differently, the second model is right on all five once in 32 times.
@pytest.mark.parametrize("images", [1, 2, 3, 5, 10, 30])
def test_models_that_are_as_good_rarely_look_better(images: int) -> None:
    others = np.array([0, 0, 0, 9 * images])
    pairs = [(k, j) for k in range(images + 1) for j in range(images + 1 - k) if k > j]
    looks_better = [
        (k, j) for k, j in pairs if low_of(np.array([images - k - j, k, j, 0]), others) > 0
    ]
    for differing in (0.05, 0.2, 0.5, 1.0):
        shares = [differing / 2, differing / 2, 1 - differing]
        rate = sum(multinomial.pmf([k, j, images - k - j], images, shares) for k, j in looks_better)
        assert rate <= (0.0313 if (images, differing) == (5, 1.0) else 0.025), differing


@pytest.mark.parametrize(("images", "others_differ"), [(5, 0.2), (30, 0.05), (300, 0.02)])
def test_nor_do_they_where_other_images_are_told_differently_too(
    images: int, others_differ: float
) -> None:
    generator, times, found = np.random.default_rng(0), 1000, 0
    for _ in range(times):
        own = generator.multinomial(images, [0.25, 0.25, 0.25, 0.25])
        wrong, differ = others_differ / 2, others_differ / 2
        others = generator.multinomial(9 * images, [wrong, differ, differ, 1 - wrong - 2 * differ])
        found += low_of(own, others) > 0
    assert found / times <= 0.025 + 2.5 * (0.025 / times) ** 0.5


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_mcnemar_is_the_binomial_test_of_what_one_alone_gets_right(
    pairs: list[tuple[bool, bool]],
) -> None:
    first = np.array([a for a, _ in pairs], dtype=bool)
    second = np.array([b for _, b in pairs], dtype=bool)
    b, c = sum(a and not s for a, s in pairs), sum(s and not a for a, s in pairs)
    expected = binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar_p_value(first, second) == pytest.approx(expected)
    assert mcnemar_p_value(second, first) == mcnemar_p_value(first, second)
