from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from modularizer.analysis.grouping import group_channels, least_important_dropped
from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.tracing import slicing_plan


def plan_of(*widths: int) -> SlicingPlan:
    layers: list[nn.Module] = []
    before = 3
    for width in widths:
        layers += [nn.Conv2d(before, width, 1), nn.ReLU()]
        before = width
    return slicing_plan(nn.Sequential(*layers, nn.Flatten(), nn.Linear(before, 2)), (3, 1, 1))


PLAN = plan_of(7, 23, 40)
SLICES = (slice(0, 7), slice(7, 30), slice(30, 70))


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 30), st.integers(1, 50))
def test_groups_are_neighbours_in_importance_of_nearly_one_size(
    seed: int, few: int, many: int, wide: int
) -> None:
    weight = torch.rand(3, 70, generator=torch.Generator().manual_seed(seed))
    grouping = group_channels(weight, PLAN, few=few, many=many, wide=wide)
    start = 0
    for channels, bits, size in zip(SLICES, grouping.segments, (7, 23, 40), strict=True):
        expected = min(size, few if size < wide else many)
        assert (bits.start, bits.stop) == (start, start + expected)
        start = bits.stop
        for of_class, groups in zip(
            weight[:, channels], grouping.group_of_channel[:, channels], strict=True
        ):
            sizes = torch.bincount(groups - bits.start, minlength=expected)
            assert int(sizes.max() - sizes.min()) <= 1
            by_importance = groups[of_class.argsort()]
            assert bool((by_importance.diff() >= 0).all())
    assert grouping.groups == start


def test_the_paper_has_10_groups_below_256_channels_and_100_from_there_on() -> None:
    plan = plan_of(4, 64, 255, 256, 512)
    weight = torch.rand(2, plan.channels, generator=torch.Generator().manual_seed(0))
    sizes = [s.stop - s.start for s in group_channels(weight, plan).segments]
    assert sizes == [4, 10, 10, 100, 100]


def test_groups_differ_between_classes_that_weigh_channels_differently() -> None:
    weight = torch.stack([torch.arange(70.0), -torch.arange(70.0)])
    groups = group_channels(weight, PLAN, few=5).group_of_channel
    assert not torch.equal(groups[0], groups[1])
    # the most important channel of each segment is in its last group
    assert groups[0, [6, 29, 69]].tolist() == [4, 9, 14]
    assert groups[1, [0, 7, 30]].tolist() == [4, 9, 14]


def test_masks_keep_the_channels_whose_bit_is_set() -> None:
    weight = torch.rand(3, 70, generator=torch.Generator().manual_seed(1))
    grouping = group_channels(weight, PLAN, few=4)
    bits = torch.rand(3, 5, 12, generator=torch.Generator().manual_seed(2)) < 0.5
    masks = grouping.masks(bits)
    assert masks.shape == (3, 5, 70)
    for label in range(3):
        for candidate in range(5):
            for channel in range(70):
                bit = grouping.group_of_channel[label, channel]
                assert masks[label, candidate, channel] == bits[label, candidate, bit]


def test_an_emptied_segment_gets_its_most_important_group_back() -> None:
    weight = torch.rand(2, 70, generator=torch.Generator().manual_seed(1))
    grouping = group_channels(weight, PLAN, few=4)
    bits = torch.zeros(2, 1, 12, dtype=torch.bool)
    bits[0, 0, 5] = True
    before = bits.clone()
    repaired = grouping.keeping_a_group(bits)
    assert torch.equal(bits, before)
    assert repaired[0, 0].nonzero().flatten().tolist() == [3, 5, 11]
    assert repaired[1, 0].nonzero().flatten().tolist() == [3, 7, 11]
    for label, mask in enumerate(grouping.masks(repaired)[:, 0]):
        for channels in SLICES:
            best = int(weight[label, channels].argmax())
            assert mask[channels].any()
            if not before[label, 0].any():
                assert mask[channels][best]
    some = torch.rand(2, 9, 12) < 0.9
    some[..., [0, 4, 8]] = True
    assert torch.equal(grouping.keeping_a_group(some), some)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_least_important_share_of_one_segment_is_dropped(ratio: float) -> None:
    weight = torch.rand(3, 70, generator=torch.Generator().manual_seed(1))
    for index, (channels, size) in enumerate(zip(SLICES, (7, 23, 40), strict=True)):
        masks = least_important_dropped(weight, PLAN, index, ratio)
        gone = min(round(size * ratio), size - 1)
        assert (~masks).sum(dim=1).tolist() == [gone] * 3
        assert (~masks[:, channels]).sum(dim=1).tolist() == [gone] * 3
        for label in range(3):
            own, kept = weight[label, channels], masks[label, channels]
            if gone:
                assert own[~kept].max() < own[kept].min()
