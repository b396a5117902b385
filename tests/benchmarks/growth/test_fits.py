"""Lines through points whose law is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.growth.curves import Curves, in_turns
from benchmarks.growth.fits import fit_growth

SIZES = (1, 2, 4, 8, 16)


def test_a_square_is_found() -> None:
    fit = fit_growth(SIZES, [3 * x**2 for x in SIZES])
    assert fit.exponent == pytest.approx(2)
    assert fit.factor == pytest.approx(3)
    assert fit.exponent_r_squared == pytest.approx(1)
    assert fit.largest_exponent == pytest.approx(2)
    assert fit.power(5) == pytest.approx(75)
    assert fit.r_squared < 0.99


def test_a_straight_line_is_found() -> None:
    fit = fit_growth(SIZES, [5 + 2 * x for x in SIZES])
    assert fit.per_item == pytest.approx(2)
    assert fit.at_none == pytest.approx(5)
    assert fit.r_squared == pytest.approx(1)
    assert 0 < fit.exponent < 1  # what does not grow makes it smaller,
    assert fit.largest_exponent is not None
    assert fit.exponent < fit.largest_exponent < 1  # least so at the largest sizes


def test_what_does_not_grow_has_exponent_0_and_is_explained() -> None:
    fit = fit_growth(SIZES, [0.1] * 5)
    assert (fit.exponent, fit.per_item) == pytest.approx((0, 0))
    assert (fit.factor, fit.at_none) == pytest.approx((0.1, 0.1))
    assert (fit.exponent_r_squared, fit.r_squared) == (1, 1)


def test_growth_that_sets_in_late_shows_at_the_largest_sizes() -> None:
    fit = fit_growth((1, 10, 100, 1000, 10000), [1 + 1e-4 * x**2 for x in (1, 10, 100, 1000, 1e4)])
    assert fit.exponent < 1.4
    assert fit.largest_exponent == pytest.approx(2, abs=0.2)


def test_both_lines_are_numpys_least_squares() -> None:
    draw = np.random.default_rng(0)
    x = np.array(SIZES, np.float64)
    y = 2 * x**1.3 * np.exp(draw.normal(0, 0.3, len(x)))
    fit = fit_growth(x.tolist(), y.tolist())
    exponent, log_factor = np.polyfit(np.log(x), np.log(y), 1)
    assert (fit.exponent, math.log(fit.factor)) == pytest.approx((exponent, log_factor))
    assert (fit.per_item, fit.at_none) == pytest.approx(tuple(np.polyfit(x, y, 1)))
    assert fit.r_squared == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    assert fit.exponent_r_squared == pytest.approx(np.corrcoef(np.log(x), np.log(y))[0, 1] ** 2)


def test_three_sizes_have_no_larger_ones_of_their_own() -> None:
    assert fit_growth((1, 2, 3), (1, 2, 3)).largest_exponent is None


@pytest.mark.parametrize(
    ("sizes", "values", "expected"),
    [
        ((4,), (1,), "two different sizes"),
        ((4, 4), (1, 2), "two different sizes"),
        ((), (), "two different sizes"),
        ((1, 2), (1, 0), "each value to be a number above 0, found 0"),
        ((1, 2), (1, -3), "each value to be a number above 0, found -3"),
        ((1, 2), (1, math.nan), "each value to be a number above 0, found nan"),
        ((1, 2), (math.inf, 1), "each value to be a number above 0, found inf"),
        ((0, 2), (1, 2), "each size to be a number above 0, found 0"),
        ((1, 2), (1,), "a value for each size"),
    ],
)
def test_what_has_no_growth_is_refused(
    sizes: tuple[float, ...], values: tuple[float, ...], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        fit_growth(sizes, values)


def test_rows_hold_the_spread_and_fits_the_unit() -> None:
    curves = Curves("modules")
    curves.add("load_seconds", 2, 3.0, 5.0, 10.0)
    curves.add("load_seconds", 1, 3.0)
    one, two = curves.rows()
    assert one == {
        **{"series": "modules", "name": "load_seconds", "size": 1, "median": 3.0, "p90": 3.0},
        **{"lowest": 3.0, "highest": 3.0, "repeats": 1},
    }
    assert (two["median"], two["lowest"], two["highest"], two["repeats"]) == (5, 3, 10, 3)
    assert two["p90"] == pytest.approx(9)
    [fit] = curves.fits()
    assert (fit["per_item_seconds"], fit["at_none_seconds"]) == pytest.approx((2, 1))
    assert fit["exponent"] == pytest.approx(math.log2(5 / 3))


def test_each_round_has_every_size_once_in_another_order() -> None:
    order = list(in_turns((1, 2, 3, 4), 10, seed=0))
    rounds = [tuple(order[start : start + 4]) for start in range(0, 40, 4)]
    assert all(sorted(one) == [1, 2, 3, 4] for one in rounds)
    assert len(set(rounds)) > 3
    assert order == list(in_turns((1, 2, 3, 4), 10, seed=0))
    assert order != list(in_turns((1, 2, 3, 4), 10, seed=1))
