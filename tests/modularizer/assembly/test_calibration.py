from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from modularizer.assembly.calibration import (
    Calibration,
    MinMaxCalibration,
    NoCalibration,
    fit_minmax,
)
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
    ],
)
def test_a_calibration_without_a_range_can_not_be_made(fields: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        MinMaxCalibration.model_validate(fields)


@pytest.mark.parametrize(
    "calibration", [MinMaxCalibration(minimum=-0.1, maximum=1 / 3), NoCalibration()]
)
def test_a_calibration_comes_back_from_json(calibration: Calibration) -> None:
    adapter: TypeAdapter[Calibration] = TypeAdapter(Calibration)
    assert adapter.validate_json(adapter.dump_json(calibration)) == calibration
    with pytest.raises(ValidationError):
        adapter.validate_json('{"kind": "sigmoid"}')
