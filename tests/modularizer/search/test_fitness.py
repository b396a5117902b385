from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modularizer.search.fitness import AccuratePass, Fitness, FittestPass


@given(
    alpha=st.floats(0, 1), accuracy=st.floats(0, 1), diff=st.floats(0, 1), adaptive=st.booleans()
)
def test_fitness_weighs_accuracy_against_diff(
    alpha: float, accuracy: float, diff: float, adaptive: bool
) -> None:
    weight = alpha + max(0.0, 0.9 - accuracy) if adaptive else alpha
    found = Fitness(alpha, adaptive=adaptive)(
        torch.tensor([accuracy], dtype=torch.float64), torch.tensor([diff], dtype=torch.float64)
    )
    assert float(found) == pytest.approx(weight * accuracy + (1 - weight) * diff, abs=1e-12)


def test_the_fittest_pass() -> None:
    fitness = torch.tensor([0.1, 0.9, 0.5, 0.7], dtype=torch.float64)
    assert FittestPass(2).chosen(fitness, fitness, 4).tolist() == [1, 3]
    assert FittestPass(9).chosen(fitness, fitness, 4).tolist() == [1, 3, 2, 0]


@pytest.mark.parametrize(
    ("classes", "threshold"), [(2, 0.95), (3, 0.95), (4, 0.95), (8, 0.85), (10, 0.80), (40, 0.80)]
)
def test_the_accurate_pass_and_the_threshold_falls_with_the_classes(
    classes: int, threshold: float
) -> None:
    accuracy = torch.tensor([threshold - 0.01, threshold, 0.1, 1.0], dtype=torch.float64)
    fitness = torch.tensor([1.0, 0.2, 0.9, 0.3], dtype=torch.float64)
    bounded = AccuratePass(least=1, most=9)
    assert bounded.chosen(fitness, accuracy, classes).tolist() == [3, 1]
    assert AccuratePass(least=3, most=9).chosen(fitness, accuracy, classes).tolist() == [3, 1, 0]
    assert AccuratePass(least=1, most=1).chosen(fitness, accuracy, classes).tolist() == [3]
