"""A decomposition that is interrupted, or has more or less to work with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from modularizer.architectures.rescnn import simple_rescnn
from modularizer.decomposition import Resources, decompose
from modularizer.errors import CheckpointError
from modularizer.progress import Progress
from tests.modularizer.bars import (
    DATA,
    GRADIENT,
    SETTINGS,
    interrupted_after,
    parts,
    same,
    strong,
    untrained,
)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"elites": 2, "adaptive_alpha": True, "first_population": "weighted"},
        {"passing": "thresholds", "least_passing": 2, "most_passing": 9, "grouping": "random"},
        {"grouping": "none", "first_population": "random", "bracket": False},
    ],
)
def test_an_interrupted_decomposition_goes_on_and_ends_the_same(
    change: dict[str, Any], tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update=change)
    whole = decompose(strong(), DATA, settings)
    once, everywhere = tmp_path / "once", tmp_path / "everywhere"
    assert interrupted_after(5 + len(whole.masks.history) // 2, once, settings)
    while interrupted_after(4, everywhere, settings):  # importance and a step, then four at a time
        pass
    for path in (once, everywhere):
        told: list[Progress] = []
        resources = Resources(workers=2, checkpoint=path)
        found = decompose(strong(), DATA, settings, resources=resources, progress=told.append)
        assert same(whole, found)
        assert whole.passes == found.passes
        assert whole.reruns == 0
        assert found.reruns or not settings.bracket  # the best so far is asked about again
        if path == everywhere:
            assert not told  # all was done
        for one, other in zip(whole.class_modules, found.class_modules, strict=True):
            states = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
            assert all(torch.equal(a, b) for a, b in states)


def test_workers_and_memory_do_not_change_the_result() -> None:
    generous = Resources(workers=3)
    tight = Resources(workers=3, memory_limit=4 * parts().memory.candidate)
    for resources in (generous, tight):
        found = decompose(strong(), DATA, SETTINGS, resources=resources)
        assert same(parts(), found)
        assert found.passes == parts().passes
    assert found.memory.workers < 3


def test_a_checkpoint_of_other_weights_data_or_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one"
    assert interrupted_after(7, path, SETTINGS)
    changed = SETTINGS.model_copy(update={"batch_size": 3})
    other = untrained(simple_rescnn(3, width=8, in_channels=1, input_size=8))
    data = replace(DATA, validation=DATA.train)
    for model, images, settings in (
        (strong(), DATA, changed),
        (other, DATA, SETTINGS),
        (strong(), data, SETTINGS),
    ):
        with pytest.raises(CheckpointError, match="of another task"):
            decompose(model, images, settings, resources=Resources(checkpoint=path))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"gates": "hard-concrete", "multiply_adds_budget": 0.5},
        {"polish_generations": 3},
    ],
)
def test_an_interrupted_gradient_search_goes_on_and_ends_the_same(
    change: dict[str, Any], tmp_path: Path
) -> None:
    settings = GRADIENT.model_copy(update=change)
    whole = decompose(strong(), DATA, settings)
    path = tmp_path / "one"
    while interrupted_after(4, path, settings):
        pass
    found = decompose(strong(), DATA, settings, resources=Resources(checkpoint=path))
    assert same(whole, found)
    assert whole.passes == found.passes
