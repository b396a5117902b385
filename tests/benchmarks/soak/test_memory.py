from __future__ import annotations

import pytest

from benchmarks.soak.memory import growth


def test_growth_is_of_the_last_whole_round_against_the_first() -> None:
    seen = [(float(n), 10.0) for n in range(5)]
    seen += [(float(n), 100.0) for n in range(5, 15)]
    seen += [(float(n), 300.0) for n in range(15, 25)]
    seen += [(float(n), 109.0 + n % 2) for n in range(25, 35)]
    seen += [(float(n), 500.0) for n in range(35, 40)]
    assert growth(seen, bounds=(5, 15, 25, 35)) == pytest.approx(0.095)  # 109.5 against 100


def test_what_goes_up_and_down_within_a_round_is_no_growth() -> None:
    seen = [(float(n), 100.0 if n % 30 < 15 else 200.0) for n in range(90)]
    assert growth(seen, bounds=(0, 30, 60, 90)) == 0


def test_one_look_that_stands_out_is_no_growth() -> None:
    seen = [(float(n), 500.0 if n == 98 else 100.0) for n in range(100)]
    assert growth(seen, bounds=(0, 50, 100)) == 0


def test_memory_that_is_freed_is_no_growth() -> None:
    seen = [(float(n), 50.0 if n > 9 else 100.0) for n in range(20)]
    assert growth(seen, bounds=(0, 10, 20)) == -0.5


@pytest.mark.parametrize("bounds", [(), (0.0,), (0.0, 50.0), (0.0, 50.0, 59.0), (0.0, 9.0, 50.0)])
def test_less_than_two_rounds_say_nothing(bounds: tuple[float, ...]) -> None:
    assert growth([(float(n), 100.0 + n) for n in range(100)], bounds=bounds) is None
