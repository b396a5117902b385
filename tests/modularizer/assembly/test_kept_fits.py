from __future__ import annotations

import numpy as np
import pytest
import torch

from modularizer.assembly.fitting import cross_fitted_scores, fit_replacement, fit_stacking
from modularizer.assembly.kept_fits import fits_are_kept, once
from modularizer.errors import CalibrationError
from tests.modularizer.made_scores import scores_of_a_useful_module


def test_inside_a_fit_is_made_once_for_the_same_numbers_and_name() -> None:
    made: list[str] = []

    def fit(name: str, numbers: np.ndarray) -> str:
        def make() -> str:
            made.append(name)
            return f"{name} {numbers}"

        return once(make, name, numbers)

    ones, floats = np.arange(3), np.arange(3.0)
    for _ in range(2):
        with fits_are_kept():
            for _ in range(3):
                assert fit("a", ones) == "a [0 1 2]"
                assert fit("b", ones) == "b [0 1 2]"
                assert fit("a", floats) == "a [0. 1. 2.]"
                assert fit("a", ones[:, None]) == "a [[0]\n [1]\n [2]]"
    assert made == ["a", "b", "a", "a"] * 2  # forgotten in between
    fit("a", ones)
    fit("a", ones)
    assert len(made) == 10  # and not kept outside


def test_what_fails_is_not_kept() -> None:
    def fail() -> None:
        raise CalibrationError("why")

    with fits_are_kept():
        for _ in range(2):
            with pytest.raises(CalibrationError, match="why"):
                once(fail, "fit", np.zeros(1))


def test_scores_are_the_same_to_the_bit_kept_or_not() -> None:
    given = scores_of_a_useful_module(100)
    for fit in (fit_replacement, fit_stacking):
        plain = cross_fitted_scores(fit, given)
        with fits_are_kept():
            assert torch.equal(cross_fitted_scores(fit, given), plain)
            assert torch.equal(cross_fitted_scores(fit, given), plain)
