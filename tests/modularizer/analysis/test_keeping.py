from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modularizer.analysis.keeping import keeping_each_layer
from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.tracing import slicing_plan
from modularizer.assembly.decode import decode
from modularizer.errors import DecodeError
from tests.modularizer.networks import NETWORKS

PARTLY_COUPLED = ("joined", "split", "shuffled", "dense", "inverted", "grouped", "convolution_head")


def plan_of(name: str) -> SlicingPlan:
    build, shape = NETWORKS[name]
    return slicing_plan(build(), shape)


@pytest.mark.parametrize("name", PARTLY_COUPLED)
@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 0.5))
def test_each_mask_can_be_decoded_and_little_is_put_back(
    name: str, seed: int, share: float
) -> None:
    plan = plan_of(name)
    build, shape = NETWORKS[name]
    network = build().eval()
    draws = torch.rand(2, 3, 4, plan.channels, generator=torch.Generator().manual_seed(seed))
    kept, preference = draws[0] < share, draws[1]
    before = kept.clone()
    found = keeping_each_layer(kept, preference, plan)
    assert torch.equal(kept, before)
    assert found.dtype == torch.bool
    assert bool((found >= kept).all())
    assert int((found & ~kept).sum(-1).max()) <= len(plan.layer_channels)
    for mask in found.flatten(0, 1):
        assert decode(network, plan, mask)(torch.zeros(1, *shape)).shape == (1, 3)
    assert torch.equal(keeping_each_layer(found, preference, plan), found)


def test_the_most_preferred_channel_of_an_emptied_layer_is_put_back() -> None:
    plan = plan_of("joined")
    left = plan.layer_channels["left"]
    assert plan.layer_channels.keys() == {"left", "right", "middle"}
    kept = torch.ones(2, plan.channels, dtype=torch.bool)
    kept[0, left] = False
    preference = torch.zeros(plan.channels)
    preference[left] = torch.tensor([1.0, 2.0])
    found = keeping_each_layer(kept, preference, plan)
    assert found[0, left].tolist() == [False, True]
    assert bool(found[1].all())
    equal = keeping_each_layer(kept, torch.zeros(plan.channels), plan)
    assert equal[0, left].tolist() == [True, False]


def test_what_a_layer_takes_in_is_not_emptied_either() -> None:
    plan = plan_of("split")
    inputs = plan.layer_channels["few's inputs"]
    assert len(inputs) == 2
    kept = torch.ones(plan.channels, dtype=torch.bool)
    kept[inputs] = False
    build, _ = NETWORKS["split"]
    with pytest.raises(DecodeError, match="few's inputs"):
        decode(build(), plan, kept)
    assert int(keeping_each_layer(kept, torch.rand(plan.channels), plan)[inputs].sum()) == 1
