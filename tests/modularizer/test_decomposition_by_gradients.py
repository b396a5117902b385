"""A decomposition by the gradient search and its polish."""

from __future__ import annotations

import pytest
import torch

from modularizer.assembly.composed import ComposedClassifier
from modularizer.classifier import predict
from modularizer.cost import count_cost
from modularizer.decomposition import Resources, decompose
from modularizer.errors import ModularizerError
from modularizer.progress import Progress
from tests.modularizer.bars import (
    DATA,
    GRADIENT,
    PartlyCoupled,
    fitted,
    parts,
    strong,
)


def test_the_gradient_search_is_behind_the_same_seam() -> None:
    found = decompose(strong(), DATA, GRADIENT)
    assert found.sensitivity is None
    kept = found.plan.kernels_kept(found.masks.kept)
    assert bool((kept <= 0.45 * found.plan.kernels).all())
    predicted = predict(ComposedClassifier(found.class_modules), DATA.validation.images)
    accuracy = float((predicted.argmax(axis=1) == DATA.validation.labels).mean())
    assert found.masks.accuracy == pytest.approx(accuracy)
    assert found.masks.history[-1]["accuracy"] == found.masks.accuracy
    assert found.masks.accuracy > max(found.random_accuracy)
    steps = GRADIENT.gradient_epochs * 3 * 3 * 20  # classes x images, and back at twice the cost
    assert found.passes == {"sensitivity": 0, "search": 3 * steps + 3 * len(DATA.validation)}
    assert sum(step["passes"] for step in found.masks.history) == found.masks.passes


def test_a_polish_never_harms_and_keeps_the_budget_and_the_alignment() -> None:
    plain = decompose(strong(), DATA, GRADIENT)
    polished = decompose(strong(), DATA, GRADIENT.model_copy(update={"polish_generations": 6}))
    assert polished.masks.history[-1]["fitness"] >= plain.masks.history[-1]["fitness"]
    for segment in plain.plan.segments:
        counts = polished.masks.kept[:, segment.channels].sum(dim=1)
        assert torch.equal(counts, plain.masks.kept[:, segment.channels].sum(dim=1))
    assert not torch.equal(polished.masks.kept, plain.masks.kept)


@pytest.mark.parametrize("budget", ["kernels_budget", "multiply_adds_budget"])
def test_a_polish_stays_within_the_budget_where_channels_differ_in_cost(budget: str) -> None:
    torch.manual_seed(1)
    model = fitted(PartlyCoupled())
    settings = GRADIENT.model_copy(
        update={budget: 0.5, "polish_generations": 8, "patience": 8, "polish_swaps": 1.0}
    )
    found = decompose(model, DATA, settings)
    costs = [count_cost(one.network, one.preprocessing) for one in found.class_modules]
    whole = count_cost(model.network, model.preprocessing)
    for cost in costs:
        if budget == "kernels_budget":
            assert cost.kernels <= 0.5 * whole.kernels
        else:
            assert cost.multiply_adds <= 0.5 * whole.multiply_adds


def test_a_step_of_gradients_that_takes_too_much_memory_is_refused() -> None:
    limit = 3 * parts().memory.candidate
    with pytest.raises(ModularizerError, match=r"through 3 modules takes .* fewer images a step"):
        decompose(
            strong(),
            DATA,
            GRADIENT.model_copy(update={"gradient_batch": 10_000}),
            resources=Resources(memory_limit=limit),
        )


def test_a_polish_without_a_bracket_is_refused_before_any_work() -> None:
    told: list[Progress] = []
    settings = GRADIENT.model_copy(
        update={"polish_generations": 2, "bracket": False, "candidates": 101}
    )
    with pytest.raises(ModularizerError, match="without a bracket"):
        decompose(strong(), DATA, settings, progress=told.append)
    assert not told


def test_a_budget_that_can_not_be_met_is_refused() -> None:
    with pytest.raises(ModularizerError, match="can't be met"):
        decompose(strong(), DATA, GRADIENT.model_copy(update={"kernels_budget": 0.01}))
