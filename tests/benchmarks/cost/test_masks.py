from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cost.masks import random_mask_of
from benchmarks.networks import plan_of, random_classifier
from modularizer.analysis.plan import SlicingPlan
from modularizer.architectures.spec import ArchitectureSpec


@cache
def plan(name: str, width: float = 0.05) -> SlicingPlan:
    arguments = {"num_classes": 10, "width_multiplier": width}
    return plan_of(
        random_classifier(ArchitectureSpec(name=name, arguments=arguments), side=32, seed=0)
    )


@given(st.sampled_from(["simcnn", "rescnn"]), st.floats(0.1, 1), st.integers(0, 2**31))
def test_a_mask_keeps_exactly_so_many_kernels_and_some_of_each_segment(
    name: str, share: float, seed: int
) -> None:
    here = plan(name)
    kernels = round(share * here.kernels)
    kept = random_mask_of(here, kernels, seed)
    assert int(here.kernels_kept(kept)) == kernels
    assert all(kept[segment.channels].any() for segment in here.segments)
    assert torch.equal(kept, random_mask_of(here, kernels, seed))


def test_another_seed_gives_another_mask() -> None:
    masks = [random_mask_of(plan("simcnn"), 100, seed) for seed in range(10)]
    assert len({tuple(one.tolist()) for one in masks}) == 10


@pytest.mark.parametrize("name", ["simcnn", "rescnn"])
def test_each_layer_keeps_about_the_same_share(name: str) -> None:
    here = plan(name, 1.0)
    kept = random_mask_of(here, round(0.6 * here.kernels), seed=0)
    for segment in here.segments:
        share = float(kept[segment.channels].double().mean())
        assert share == pytest.approx(0.6, abs=4 * (0.24 / len(segment)) ** 0.5)


@pytest.mark.parametrize("kernels", [0, 8, 217])
def test_a_size_that_no_mask_has_is_refused(kernels: int) -> None:
    with pytest.raises(ValueError, match=f"no mask of this network keeps {kernels} of 216"):
        random_mask_of(plan("rescnn"), kernels, seed=0)
