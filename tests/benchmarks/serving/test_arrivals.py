from __future__ import annotations

import statistics

import numpy as np
import pytest

from benchmarks.serving.arrivals import BURST_SHARE, Arrivals, send_times

KINDS: tuple[Arrivals, ...] = ("steady", "poisson", "bursts")


def times(
    kind: Arrivals, rate: float = 200.0, seconds: float = 100.0, seed: int = 0
) -> list[float]:
    return list(send_times(kind, rate, seconds, seed))


@pytest.mark.parametrize("kind", KINDS)
def test_times_come_in_order_at_the_rate_that_was_asked_for(kind: Arrivals) -> None:
    found = times(kind)
    assert found == sorted(found)
    assert found[0] >= 0
    assert found[-1] < 100
    assert len(found) == pytest.approx(20_000, rel=0.03)  # four standard deviations of poisson


def test_steady_times_are_even() -> None:
    assert times("steady", rate=4, seconds=1) == [0, 0.25, 0.5, 0.75]


def test_gaps_of_poisson_are_exponential() -> None:
    gaps = np.diff(times("poisson")).tolist()
    assert statistics.mean(gaps) == pytest.approx(1 / 200, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(1 / 200, rel=0.03)  # as large as their mean


def test_three_quarters_of_all_requests_come_in_bursts() -> None:
    in_burst = [at % 1 < BURST_SHARE for at in times("bursts")]
    assert statistics.mean(in_burst) == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_seed_alone_decides(kind: Arrivals) -> None:
    assert times(kind, seconds=1) == times(kind, seconds=1)
    assert times(kind, seconds=1) != times(kind, seconds=1, seed=1)
