from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modularizer.analysis.grouping import Grouping
from modularizer.search.population import first_population, random_masks_like, random_population


def grouping_of(*sizes: int) -> Grouping:
    stops = torch.tensor(sizes).cumsum(0).tolist()
    segments = tuple(slice(stop - size, stop) for size, stop in zip(sizes, stops, strict=True))
    return Grouping(torch.arange(sum(sizes)).expand(3, -1), segments)


def population(grouping: Grouping, sensitive: list[bool], seed: int, count: int = 200) -> Tensor:
    return first_population(
        grouping,
        torch.tensor(sensitive),
        classes=3,
        candidates=count,
        generator=torch.Generator().manual_seed(seed),
    )


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_a_sensitive_segment_loses_10_to_50_percent_and_another_one_50_to_90(seed: int) -> None:
    bits = population(grouping_of(10, 100, 10, 100), [True, True, False, False], seed)
    zeros = [(~bits[..., s]).double().mean(dim=2) for s in grouping_of(10, 100, 10, 100).segments]
    for share, (low, high) in zip(zeros, [(0.1, 0.5)] * 2 + [(0.5, 0.9)] * 2, strict=True):
        assert float(share.min()) >= low
        assert float(share.max()) <= high
        assert share.unique().numel() >= 5  # the whole range is drawn from
        assert abs(float(share.mean()) - (low + high) / 2) < 0.05


@given(st.integers(0, 1000), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_every_segment_keeps_a_group_however_small(seed: int, sizes: list[int]) -> None:
    grouping = grouping_of(*sizes)
    bits = population(grouping, [False] * len(sizes), seed, 30)
    assert bits.shape == (3, 30, sum(sizes))
    assert all(bool(bits[..., segment].any(dim=2).all()) for segment in grouping.segments)


def test_every_group_is_as_likely_to_be_dropped_as_another() -> None:
    bits = population(grouping_of(10), [True], 0, 2000)
    dropped = (~bits).double().mean(dim=(0, 1))
    assert float(dropped.max() - dropped.min()) < 0.05


def test_the_same_seed_gives_the_same_population() -> None:
    grouping = grouping_of(10, 7)
    first, second = (population(grouping, [True, False], 4) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, population(grouping, [True, False], 5))


@given(st.integers(0, 1000))
def test_random_masks_keep_as_many_channels_of_each_segment(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(4, 30, generator=generator) < 0.6
    before = masks.clone()
    segments = [slice(0, 12), slice(12, 30)]
    shuffled = random_masks_like(masks, segments, generator)
    assert torch.equal(masks, before)
    assert not torch.equal(shuffled, masks)
    for segment in segments:
        assert torch.equal(shuffled[:, segment].sum(1), masks[:, segment].sum(1))


def test_important_groups_stay_more_often_where_that_is_asked_for() -> None:
    grouping = grouping_of(10, 10)
    generator = torch.Generator().manual_seed(0)
    sensitive = torch.tensor([True, False])
    bits = first_population(
        grouping, sensitive, classes=3, candidates=3000, generator=generator, by_importance=True
    )
    alike = first_population(grouping, sensitive, classes=3, candidates=3000, generator=generator)
    for segment in grouping.segments:
        stays = bits[..., segment].double().mean(dim=(0, 1))
        assert bool((stays.diff() > 0).all())
        assert float(stays[-1]) > 1.5 * float(stays[0])
        assert abs(float(stays.mean() - alike[..., segment].double().mean())) < 0.01


def test_a_random_population_is_fair_coins_and_empties_no_segment() -> None:
    grouping = grouping_of(100, 2)
    bits = random_population(
        grouping, classes=2, candidates=500, generator=torch.Generator().manual_seed(0)
    )
    assert abs(float(bits[..., :100].double().mean()) - 0.5) < 0.01
    assert bool(bits[..., 100:].any(dim=2).all())
    assert not bool(bits[..., 100:].all(dim=2).all())
