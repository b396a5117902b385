from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from modularizer.settings import DecompositionSettings, TrainingSettings


def test_the_defaults_are_the_paper_s() -> None:
    search = DecompositionSettings()
    assert (search.few_groups, search.many_groups, search.wide_segment) == (10, 100, 256)
    assert (search.candidates, search.parents, search.mutation_rate) == (100, 50, 0.1)
    assert (search.alpha, search.generations, search.top) == (0.9, 200, 100)
    assert search.tolerated_loss == 0.05
    assert (search.grouping, search.first_population, search.bracket, search.passing) == (
        "importance",
        "sensitivity",
        True,
        "top",
    )
    assert (search.sensitive_drop, search.insensitive_drop) == ((0.1, 0.5), (0.5, 0.9))
    assert (search.elites, search.adaptive_alpha) == (0, False)
    training = TrainingSettings()
    assert (training.epochs, training.batch_size, training.learning_rate) == (200, 128, 0.01)
    assert (training.momentum, training.weight_decay) == (0.9, 1e-4)
    assert [round(m * training.epochs) for m in training.milestones] == [60, 120]


@pytest.mark.parametrize(
    "change",
    [
        {"candidates": 1},
        {"parents": 1},
        {"parents": 51, "candidates": 50},
        {"mutation_rate": 1.1},
        {"alpha": -0.1},
        {"top": 0},
        {"generations": 0},
        {"few_groups": 0},
        {"random_draws": 0},
        {"elites": 100},
        {"elites": -1},
        {"grouping": "alphabet"},
        {"passing": "all"},
        {"sensitive_drop": (0.5, 0.1)},
        {"sensitive_drop": (0.5,)},
        {"insensitive_drop": (0.5, 1.1)},
        {"least_passing": 9, "most_passing": 8},
        {"alpha": float("nan")},
        {"unheard_of": 1},
    ],
)
def test_a_decomposition_setting_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DecompositionSettings.model_validate(change)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"momentum": 1.5},
        {"weight_decay": -1},
        {"milestones": (1.5,)},
        {"augment_crop": -1},
        {"unheard_of": 1},
    ],
)
def test_a_training_setting_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainingSettings.model_validate(change)


@pytest.mark.parametrize("settings", [TrainingSettings(), DecompositionSettings(seed=3)])
def test_settings_come_back_from_json(settings: TrainingSettings | DecompositionSettings) -> None:
    assert type(settings).model_validate_json(settings.model_dump_json()) == settings
    with pytest.raises(ValidationError):
        settings.seed = 4  # type: ignore[misc]
