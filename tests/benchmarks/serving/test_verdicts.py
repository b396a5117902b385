from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from benchmarks.serving.quantiles import quantile
from benchmarks.serving.verdicts import (
    FEWEST_PAIRS,
    Estimate,
    Sense,
    Verdict,
    estimate,
    judge,
    recovery_seconds,
)

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


@given(values=NUMBERS, share=st.floats(0, 1))
def test_quantiles_are_numpy_s(values: list[float], share: float) -> None:
    assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)), abs=1e-6)


def test_there_is_no_quantile_of_nothing() -> None:
    assert quantile([], 0.5) is None


def test_an_estimate_agrees_with_scipy_s_bootstrap() -> None:
    values = np.random.default_rng(0).lognormal(0.7, 0.3, 25)
    found = estimate(values.tolist())
    oracle = bootstrap((values,), np.median, method="percentile", n_resamples=20_000, rng=1)
    assert found.median == np.median(values)
    assert found.low == pytest.approx(oracle.confidence_interval.low, rel=0.03)
    assert found.high == pytest.approx(oracle.confidence_interval.high, rel=0.03)
    assert found.pairs == 25


@given(values=NUMBERS)
def test_an_interval_holds_its_median_and_lies_among_the_values(values: list[float]) -> None:
    found = estimate(values)
    assert min(values) <= found.low <= found.median <= found.high <= max(values)
    assert found == estimate(values)


@pytest.mark.parametrize(
    ("low", "high", "aim", "sense", "expected"),
    [
        (2.0, 3.0, 2.0, "at least", "met"),
        (1.9, 3.0, 2.0, "at least", "undecided"),
        (1.0, 1.9, 2.0, "at least", "missed"),
        (1.0, 2.0, 2.0, "at least", "undecided"),
        (1.0, 2.5, 2.5, "at most", "met"),
        (1.0, 2.6, 2.5, "at most", "undecided"),
        (2.6, 3.0, 2.5, "at most", "missed"),
    ],
)
def test_an_aim_is_met_or_missed_by_the_whole_interval(
    low: float, high: float, aim: float, sense: Sense, expected: Verdict
) -> None:
    assert judge(Estimate((low + high) / 2, low, high, 8), aim, sense) == expected
    few = Estimate((low + high) / 2, low, high, FEWEST_PAIRS - 1)
    assert judge(few, aim, sense) == "undecided"


def test_a_service_has_recovered_when_it_stays_so() -> None:
    sent_s = [0.1, 0.2, 0.6, 0.7, 1.1, 1.2, 1.6]

    def recovered(*latency_ms: float) -> float | None:
        return recovery_seconds(sent_s, latency_ms, limit_ms=10)

    assert recovered(5, 5, 5, 5, 5, 5, 5) == 0
    assert recovered(50, 50, 5, 5, 5, 5, 5) == 0.5
    assert recovered(50, 50, 5, 5, 5, 50, 5) == 1.5  # the median of 5 and 50 is past it
    assert recovered(5, 5, float("inf"), float("inf"), 5, 5, 5) == 1.0
    assert recovered(50, 50, 50, 50, 50, 50, 50) is None
    assert recovered(5, 5, 5, 5, 5, 5, 50) is None
    assert recovery_seconds([], [], limit_ms=10) is None
