from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from modularizer.assembly.calibration import Calibration
from modularizer.assembly.calibrations.fitted import FittedCalibration
from modularizer.assembly.calibrations.logistic import LogisticCalibration, fit_logistic
from modularizer.assembly.calibrations.minmax import MinMaxCalibration, fit_minmax
from modularizer.assembly.calibrations.quantile import QuantileCalibration, fit_quantile
from modularizer.assembly.calibrations.raw import NoCalibration
from modularizer.errors import CalibrationError

SCORES = st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=20)


@given(SCORES, st.floats(-1e7, 1e7, width=32))
def test_minmax_is_the_paper_s_formula_within_and_beyond_the_range(
    values: list[float], score: float
) -> None:
    scores = np.array(values, dtype=np.float32)
    low, high = min(values), max(values)
    if low == high:
        return
    fitted = fit_minmax(scores)
    assert (fitted.minimum, fitted.maximum) == (low, high)
    found = float(fitted.apply(torch.tensor([score], dtype=torch.float64))[0])
    assert found == pytest.approx((score - low) / (high - low))
    ends = fitted.apply(torch.tensor([low, high], dtype=torch.float64))
    assert ends.tolist() == [0.0, 1.0]


def test_scores_beyond_the_range_are_not_clipped() -> None:
    calibration = MinMaxCalibration(minimum=-1, maximum=3)
    scores = torch.tensor([-5.0, -1.0, 1.0, 3.0, 11.0])
    assert calibration.apply(scores).tolist() == [-1.0, 0.0, 0.5, 1.0, 3.0]
    assert scores.tolist() == [-5.0, -1.0, 1.0, 3.0, 11.0]


def test_no_calibration_gives_raw_scores_back() -> None:
    scores = torch.tensor([-5.0, 2.0])
    assert torch.equal(NoCalibration().apply(scores), scores)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([], "found none"),
        ([1.0, float("nan"), 2.0], "1 of 3 scores are not finite"),
        ([float("inf"), float("-inf")], "2 of 2 scores are not finite"),
        ([2.5, 2.5, 2.5], r"all 3 scores are 2\.5"),
        ([2.5], r"all 1 scores are 2\.5"),
        ([0.0, -0.0], "all 2 scores are"),
    ],
)
def test_scores_without_a_range_are_refused(scores: list[float], message: str) -> None:
    array: NDArray[np.float32] = np.array(scores, dtype=np.float32)
    with pytest.raises(CalibrationError, match=message):
        fit_minmax(array)


@pytest.mark.parametrize(
    "fields",
    [
        {"minimum": 1.0, "maximum": 1.0},
        {"minimum": 2.0, "maximum": 1.0},
        {"minimum": float("nan"), "maximum": 1.0},
        {"minimum": 0.0, "maximum": float("inf")},
        {"minimum": 0.0},
        {"minimum": 0.0, "maximum": 1.0, "more": 1},
        {"kind": "none", "minimum": 0.0, "maximum": 1.0},
        {"kind": "quantile", "low": 1.0, "high": 1.0},
        {"kind": "quantile", "low": 0.0, "high": 1.0, "share": 0.5},
        {"kind": "logistic", "scale": float("nan"), "shift": 0.0},
        {"kind": "fitted", "scale": 1.0},
    ],
)
def test_a_broken_calibration_can_not_be_made(fields: dict[str, float]) -> None:
    adapter: TypeAdapter[Calibration] = TypeAdapter(Calibration)
    with pytest.raises(ValidationError):
        adapter.validate_python({"kind": "minmax", **fields})


def test_quantiles_are_not_moved_by_one_odd_score() -> None:
    scores = np.linspace(0, 10, 101, dtype=np.float32)
    fitted = fit_quantile(scores)
    assert (fitted.low, fitted.high, fitted.share) == pytest.approx((0.5, 9.5, 0.05))
    scores[-1] = 1e6
    assert fit_quantile(scores) == fitted
    found = fitted.apply(torch.tensor([-4.0, 0.5, 5.0, 9.5]))
    assert found.tolist() == pytest.approx([-0.5, 0.0, 0.5, 1.0])


def test_quantiles_of_no_share_are_the_paper_s_ends() -> None:
    scores = np.array([3.0, -1.5, 0.25, 7.0], dtype=np.float32)
    paper, robust = fit_minmax(scores), fit_quantile(scores, share=0.0)
    assert (robust.low, robust.high) == (paper.minimum, paper.maximum)


def test_quantiles_that_coincide_are_refused() -> None:
    scores = np.array([0.0] * 99 + [1.0], dtype=np.float32)
    with pytest.raises(CalibrationError, match=r"scores are 0\.0; quantile calibration needs"):
        fit_quantile(scores)


def test_a_logistic_fit_finds_the_probabilities_that_labels_were_drawn_by() -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(0, 4, 50_000).astype(np.float32)
    chance = 1 / (1 + np.exp(-(0.6 * scores - 1.5)))
    fitted = fit_logistic(scores, generator.random(50_000) < chance)
    assert (fitted.scale, fitted.shift) == pytest.approx((0.6, -1.5), rel=0.05)
    found = fitted.apply(torch.tensor([0.0, 2.5, 1e9, -1e9], dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.1824, 0.5, 1.0, 0.0], abs=0.02)


@pytest.mark.parametrize("is_class", [[True] * 4, [False] * 4])
def test_a_logistic_fit_needs_both_sides(is_class: list[bool]) -> None:
    scores = np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32)
    with pytest.raises(CalibrationError, match="images of the class and of others"):
        fit_logistic(scores, np.array(is_class))


def test_a_fitted_calibration_gives_log_odds() -> None:
    calibration = FittedCalibration(scale=2, shift=-1)
    assert calibration.apply(torch.tensor([-1.0, 0.5])).tolist() == [-3.0, 0.0]


@pytest.mark.parametrize(
    "calibration",
    [
        MinMaxCalibration(minimum=-0.1, maximum=1 / 3),
        NoCalibration(),
        QuantileCalibration(low=-0.1, high=1 / 3, share=0.1),
        LogisticCalibration(scale=1 / 3, shift=-7),
        FittedCalibration(scale=1 / 3, shift=-7),
    ],
)
def test_a_calibration_comes_back_from_json(calibration: Calibration) -> None:
    adapter: TypeAdapter[Calibration] = TypeAdapter(Calibration)
    assert adapter.validate_json(adapter.dump_json(calibration)) == calibration
    with pytest.raises(ValidationError):
        adapter.validate_json('{"kind": "sigmoid"}')
