from __future__ import annotations

import pytest

from benchmarks.soak.memory import growth


def test_growth_is_of_the_last_tenth_against_the_first_after_the_warm_up() -> None:
    seen = [(0.0, 10.0), *((float(n), 100.0) for n in range(1, 11))]
    seen += [(float(n), 100.0 + n - 10) for n in range(11, 21)]
    assert growth(seen, after_seconds=1) == pytest.approx(0.095)  # 109.5 against 100
    assert growth(seen, after_seconds=30) is None


def test_one_look_that_stands_out_is_no_growth() -> None:
    seen = [(float(n), 500.0 if n == 98 else 100.0) for n in range(100)]
    assert growth(seen, after_seconds=0) == 0


def test_memory_that_is_freed_is_no_growth() -> None:
    seen = [(float(n), 50.0 if n > 9 else 100.0) for n in range(20)]
    assert growth(seen, after_seconds=0) == -0.5


def test_a_few_looks_say_nothing() -> None:
    assert growth([(float(n), 100.0 + n) for n in range(19)], after_seconds=0) is None
