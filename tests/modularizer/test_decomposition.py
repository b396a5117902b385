"""What a decomposition finds, keeps and reports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modularizer.analysis.trial import masks_removing_each
from modularizer.architectures.rescnn import simple_rescnn
from modularizer.assembly.masking import masked
from modularizer.datasets.held_out import HeldOut
from modularizer.datasets.images import ImageSet
from modularizer.decomposition import decompose
from modularizer.errors import DataError
from modularizer.progress import Progress
from modularizer.search.bracket import BracketResult, run_bracket
from tests.modularizer.bars import (
    DATA,
    NAMES,
    SETTINGS,
    TEST,
    PartlyCoupled,
    assert_reported_as_done,
    fitted,
    parts,
    same,
    strong,
)


def test_the_same_seed_finds_the_same_masks_whatever_was_drawn_before() -> None:
    torch.rand(7)
    before = torch.get_rng_state()
    assert same(parts(), decompose(strong(), DATA, SETTINGS))
    assert torch.equal(before, torch.get_rng_state())
    other = decompose(strong(), DATA, SETTINGS.model_copy(update={"seed": 6}))
    assert not torch.equal(parts().masks.kept, other.masks.kept)


def test_what_is_reported_is_what_the_modules_do() -> None:
    assert_reported_as_done(parts())


def test_each_module_is_the_masked_strong_network_s_score_of_its_class() -> None:
    found, network = parts(), strong().network
    images = torch.from_numpy(TEST.images)
    prepared = strong().preprocessing.prepare(images)
    for label, one in enumerate(found.class_modules):
        assert one.class_name == NAMES[label]
        assert one.output == label
        assert torch.equal(one.kept, found.masks.kept[label])
        with torch.no_grad(), masked(network, found.plan, one.kept):
            expected = network(prepared)[:, label]
        with torch.no_grad():
            torch.testing.assert_close(one(images), expected, rtol=1e-4, atol=1e-4)


def test_the_best_so_far_is_never_lost() -> None:
    history = parts().masks.history
    fitness = [generation["fitness"] for generation in history]
    assert fitness == sorted(fitness)
    assert len(history) == 4


NARROW = SETTINGS.model_copy(update={"top": 1, "generations": 12, "mutation_rate": 0.4})


@pytest.mark.parametrize("seed", range(3))
def test_a_narrow_search_keeps_and_reports_the_best_of_all_its_generations(seed: int) -> None:
    results: list[BracketResult] = []

    def remembered(*args: Any, **kwargs: Any) -> BracketResult:
        results.append(run_bracket(*args, **kwargs))
        return results[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modularizer.search.evolution.run_bracket", remembered)
        found = decompose(strong(), DATA, NARROW.model_copy(update={"seed": seed}))
    fitness = [result.fitness for result in results]
    assert fitness == sorted(fitness)  # the best so far is among each generation's models
    assert fitness == [generation["fitness"] for generation in found.masks.history]
    assert fitness[-1] == fitness[-2]  # the last generation gained nothing here
    assert found.masks.accuracy == results[-1].accuracy
    assert found.masks.diff == pytest.approx(results[-1].diff)
    assert_reported_as_done(found)


def test_every_segment_keeps_a_kernel_for_every_class() -> None:
    harsh = SETTINGS.model_copy(update={"mutation_rate": 1.0, "few_groups": 2, "generations": 6})
    found = decompose(strong(), DATA, harsh)
    for segment in found.plan.segments:
        assert bool(found.masks.kept[:, segment.channels].any(dim=1).all())


def test_random_masks_keep_as_many_channels_of_each_segment() -> None:
    found = parts()
    assert found.random_masks.shape == (2, *found.masks.kept.shape)
    assert len(found.random_accuracy) == 2
    for draw in found.random_masks:
        for segment in found.plan.segments:
            counts = draw[:, segment.channels].sum(1)
            assert torch.equal(counts, found.masks.kept[:, segment.channels].sum(1))


def test_passes_are_counted_and_fewer_than_running_everything_on_everything() -> None:
    run = {"images": 0}

    def counted(module: nn.Module, args: Any, made: Any) -> None:
        if isinstance(made, Tensor) and isinstance(module, nn.Linear) and module.out_features == 1:
            run["images"] += 0 if made.is_meta else len(made)

    hook = nn.modules.module.register_module_forward_hook(counted)
    try:
        found = decompose(strong(), DATA, SETTINGS)
    finally:
        hook.remove()
    assert same(found, parts())
    images, classes, generations = len(DATA.validation), 3, len(found.masks.history)
    assert found.passes["plain"] == generations * classes * SETTINGS.candidates * images
    assert found.passes["search"] == sum(step["passes"] for step in found.masks.history)
    assert found.passes["search"] < 0.8 * found.passes["plain"]  # three classes: little to save
    assert found.passes["sensitivity"] <= len(found.plan.segments) * 9 * classes * images
    # Each image through a head of one output is a pass; the strong model itself, the draws and
    # the checks before and after come on top.
    judged = classes * images * (1 + SETTINGS.random_draws)
    checked = 2 * len(masks_removing_each(found.plan)) + classes * 32
    counted_here = found.passes["search"] + found.passes["sensitivity"]
    assert run["images"] == counted_here + judged + checked


def test_the_search_stops_after_generations_without_gain() -> None:
    settings = SETTINGS.model_copy(
        update={
            "generations": 60,
            "patience": 2,
            "mutation_rate": 0.0,
            "candidates": 2,
            "parents": 2,
        }
    )
    history = decompose(strong(), DATA, settings).masks.history
    assert 3 <= len(history) < 60
    assert history[-3]["fitness"] == history[-1]["fitness"]


def test_progress_is_told_after_each_segment_and_generation() -> None:
    told: list[Progress] = []
    found = decompose(strong(), DATA, SETTINGS, progress=told.append)
    stages = [(p.stage, p.done, p.total) for p in told]
    segments = len(found.plan.segments)
    assert stages == [
        *(("importance", n, 3) for n in range(1, 4)),
        *(("sensitivity", n, segments) for n in range(1, segments + 1)),
        *(("search", n, 4) for n in range(1, 5)),
    ]
    assert told[-1].seconds.keys() == {"decode", "network", "bracket", "diff", "total"}
    assert (
        0
        < sum(v for k, v in told[-1].seconds.items() if k != "total")
        < 1.01 * told[-1].seconds["total"]
    )
    assert told[-1].metrics == found.masks.history[-1]


@pytest.mark.parametrize("search", ["genetic", "gradient"])
def test_the_strong_classifier_is_left_as_it_is(search: str) -> None:
    torch.manual_seed(0)
    normed = simple_rescnn(3, width=8, in_channels=1, input_size=8, batch_norm=True)
    model = fitted(normed).train()
    settings = SETTINGS.model_copy(update={"search": search})
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    grads = [p.requires_grad for p in model.parameters()]
    decompose(model, DATA, settings)
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == grads
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


class Untouchable(np.ndarray[Any, Any]):
    """Pixels that may not be looked at."""

    def __getitem__(self, key: Any) -> Any:
        raise AssertionError("test images were read")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("test images were read")


def test_test_images_are_not_looked_at() -> None:
    test = HeldOut(ImageSet(TEST.images.view(Untouchable), TEST.labels, NAMES))
    assert same(parts(), decompose(strong(), replace(DATA, test=test), SETTINGS))


def test_a_search_empties_no_layer_that_has_some_of_its_segment_s_channels() -> None:
    torch.manual_seed(1)
    model = fitted(PartlyCoupled())
    harsh = SETTINGS.model_copy(update={"mutation_rate": 0.9, "few_groups": 8, "generations": 6})
    found = decompose(model, DATA, harsh)
    (segment,) = found.plan.segments
    assert segment.layers == ("left", "right", "both")
    for one in found.class_modules:
        assert all(
            min(m.weight.shape[:2]) >= 1
            for m in one.network.modules()
            if isinstance(m, nn.Conv2d | nn.Linear)
        )


def test_a_search_may_look_at_some_of_the_validation_images_alone() -> None:
    some = decompose(strong(), DATA, SETTINGS.model_copy(update={"validation_images": 15}))
    assert some.passes["plain"] == parts().passes["plain"] * 15 // len(DATA.validation)
    assert round(some.strong_accuracy * 15, 6) == int(some.strong_accuracy * 15 + 0.5)
    with pytest.raises(DataError, match="fewer than the 3 classes"):
        decompose(strong(), DATA, SETTINGS.model_copy(update={"validation_images": 2}))
