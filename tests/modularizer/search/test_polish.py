from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from modularizer.analysis.grouping import group_channels
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.rescnn import rescnn
from modularizer.search.polish import bits_of, grouping_around, population_around

PLAN = slicing_plan(rescnn(3, width_multiplier=1 / 16), (3, 32, 32))


def masks_and_logits(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, PLAN.channels, generator=generator)
    masks = logits > torch.randn(3, 1, generator=generator)
    for segment in PLAN.segments:
        masks[:, segment.start] = True
    return masks, logits


@given(st.integers(0, 1000), st.sampled_from([1, 2, 5, 100]))
def test_masks_are_kept_exactly_by_bits(seed: int, few: int) -> None:
    masks, logits = masks_and_logits(seed)
    grouping = grouping_around(masks, logits, PLAN, few=few)
    bits = bits_of(masks, grouping)
    assert torch.equal(grouping.masks(bits[:, None])[:, 0], masks)
    assert torch.equal(grouping.keeping_a_group(bits), bits)


@given(st.integers(0, 1000))
def test_groups_are_as_many_as_ever_and_neighbours_in_logits(seed: int) -> None:
    masks, logits = masks_and_logits(seed)
    grouping = grouping_around(masks, logits, PLAN, few=7)
    usual = group_channels(logits, PLAN, few=7)
    assert grouping.segments == usual.segments
    for segment, bits in zip(PLAN.segments, grouping.segments, strict=True):
        for row in range(3):
            groups = grouping.group_of_channel[row, segment.channels]
            assert sorted(groups.unique().tolist()) == list(range(bits.start, bits.stop))
            key = logits[row, segment.channels].double() + 1000 * masks[row, segment.channels]
            assert bool((groups[key.argsort()].diff() >= 0).all())


def test_the_first_candidate_is_the_given_one_and_the_others_are_variants() -> None:
    masks, logits = masks_and_logits(0)
    bits = bits_of(masks, grouping_around(masks, logits, PLAN))
    generator = torch.Generator().manual_seed(0)
    around = population_around(bits, candidates=50, mutation_rate=0.1, generator=generator)
    assert around.shape == (3, 50, bits.shape[1])
    assert torch.equal(around[:, 0], bits)
    flipped = float((around[:, 1:] ^ bits[:, None]).double().mean())
    assert 0.08 < flipped < 0.12
    assert not torch.equal(around[:, 1], around[:, 2])
