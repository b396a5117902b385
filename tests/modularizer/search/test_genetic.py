from __future__ import annotations

import copy
from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modularizer.search.bracket import BracketResult
from modularizer.search.genetic import (
    CrossAndFlip,
    SearchState,
    SwapWithinSegments,
    ask,
    cross,
    mutate,
    select,
    tell,
)


def random_bits(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5


def told(seed: int = 0, *, classes: int = 3, candidates: int = 8, groups: int = 12) -> SearchState:
    bits = random_bits(classes, candidates, groups, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    result = BracketResult(
        combination=torch.randint(candidates, (classes,), generator=generator),
        accuracy=0.5,
        diff=0.5,
        fitness=0.5,
        standing=torch.rand(classes, candidates, generator=generator, dtype=torch.float64),
    )
    return tell(SearchState(bits), bits, result)


def asked(
    state: SearchState, seed: int, *, parents: int = 4, rate: float = 0.1, elites: int = 0
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return ask(state, parents=parents, elites=elites, vary=CrossAndFlip(rate), generator=generator)


def test_the_first_candidates_are_asked_as_they_are() -> None:
    bits = random_bits(3, 8, 12)
    assert torch.equal(asked(SearchState(bits), 0), bits)


@given(st.integers(0, 1000))
def test_the_same_seed_asks_the_same_and_another_one_something_else(seed: int) -> None:
    state = told(seed)
    assert torch.equal(asked(state, seed), asked(state, seed))
    assert not torch.equal(asked(state, seed), asked(state, seed + 1))


@given(st.integers(0, 1000), st.floats(0, 1))
def test_candidate_0_is_the_best_so_far_unchanged(seed: int, rate: float) -> None:
    state = told(seed)
    assert state.best_bits is not None
    assert torch.equal(asked(state, seed, rate=rate)[:, 0], state.best_bits)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 12), st.integers(2, 6))
def test_a_child_is_the_head_of_one_parent_and_the_tail_of_another(
    seed: int, groups: int, parents: int
) -> None:
    chosen = random_bits(2, parents, groups, seed=seed)
    children = cross(chosen, children=20, generator=torch.Generator().manual_seed(seed))
    assert children.shape == (2, 20, groups)
    for of_class, born in zip(chosen.tolist(), children.tolist(), strict=True):
        possible = {
            (*a[:point], *b[point:])
            for i, a in enumerate(of_class)
            for j, b in enumerate(of_class)
            if i != j
            for point in range(1, max(groups, 2))
        }
        assert {tuple(child) for child in born} <= possible


def test_every_pair_of_parents_and_every_point_comes_up() -> None:
    # parent p is all p in base 3: head and tail say who they are from
    parents = torch.arange(3)[None, :, None].expand(1, 3, 5)
    children = cross(parents, children=2000, generator=torch.Generator().manual_seed(0))[0]
    assert bool((children[:, 0] != children[:, -1]).all())  # two different parents, a real point
    kinds = {(int(c[0]), int(c[-1]), int((c == c[0]).sum())) for c in children}
    assert len(kinds) == 3 * 2 * 4


def test_a_single_parent_has_itself_as_children() -> None:
    parent = random_bits(2, 1, 7)
    children = cross(parent, children=4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(children, parent.expand(2, 4, 7))


@given(st.integers(0, 1000), st.sampled_from([0.02, 0.1, 0.5, 0.9]))
def test_bits_are_flipped_at_the_mutation_rate(seed: int, rate: float) -> None:
    bits = random_bits(4, 50, 100, seed=seed)
    flipped = mutate(bits, rate, torch.Generator().manual_seed(seed)) ^ bits
    spread = (rate * (1 - rate) / bits.numel()) ** 0.5
    assert abs(float(flipped.double().mean()) - rate) < 5 * spread
    both = float((flipped[..., 1:] & flipped[..., :-1]).double().mean())
    assert abs(both - rate**2) < 0.02  # neighbours flip independently


def test_mutation_rates_of_0_and_1_flip_nothing_and_everything() -> None:
    bits = random_bits(2, 3, 40)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(mutate(bits, 0.0, generator), bits)
    assert torch.equal(mutate(bits, 1.0, generator), ~bits)


def test_the_best_have_children_in_the_order_of_their_standing() -> None:
    bits = random_bits(2, 4, 30)
    standing = torch.tensor([[1.0, 3.0, 2.0, 3.0], [4.0, 1.0, 2.0, 3.0]], dtype=torch.float64)
    chosen = select(bits, standing, 2)
    assert torch.equal(chosen[0], bits[0, [1, 3]])
    assert torch.equal(chosen[1], bits[1, [0, 3]])


def test_only_the_selected_have_children() -> None:
    state = told(1)
    assert state.standing is not None
    parents = select(state.bits, state.standing, 2)
    children = asked(state, 3, parents=2, rate=0.0)[:, 1:]
    for of_class, born in zip(parents, children, strict=True):
        agreed = of_class[0] == of_class[1]
        assert bool((born[:, agreed] == of_class[0, agreed]).all())


def result_of(fitness: float, combination: Tensor) -> BracketResult:
    standing = torch.zeros(2, 4, dtype=torch.float64)
    return BracketResult(combination, fitness, 0.0, fitness, standing)


def test_tell_counts_generations_without_gain_and_keeps_the_best() -> None:
    state = SearchState(random_bits(2, 4, 6))
    stale, best = [], []
    for step, fitness in enumerate((0.5, 0.5, 0.4, 0.6, 0.6, 0.7)):
        bits = random_bits(2, 4, 6, seed=step)
        combination = torch.tensor([step % 4, (step + 1) % 4])
        before = state
        state = tell(state, bits, result_of(fitness, combination))
        stale.append(state.stale)
        best.append(state.best_fitness)
        assert torch.equal(state.bits, bits)
        assert state.best_bits is not None
        if state.stale == 0:
            assert torch.equal(state.best_bits[0], bits[0, combination[0]])
            assert torch.equal(state.best_bits[1], bits[1, combination[1]])
        else:
            assert state.best_bits is before.best_bits
    assert stale == [0, 1, 2, 0, 1, 0]
    assert best == [0.5, 0.5, 0.5, 0.6, 0.6, 0.7]
    assert state.generation == 6


def test_ask_and_tell_change_no_state() -> None:
    state = told(2)
    before = copy.deepcopy(state)
    children = asked(state, 0)
    tell(state, children, result_of(0.9, torch.tensor([0, 1, 2])))
    children.logical_not_()
    for one in fields(SearchState):
        was, now = getattr(before, one.name), getattr(state, one.name)
        assert torch.equal(was, now) if isinstance(was, Tensor) else was == now


@pytest.mark.parametrize("elites", [1, 3, 7])
def test_elites_go_on_unchanged_behind_the_best_combination(elites: int) -> None:
    state = told(4)
    assert state.standing is not None
    assert state.best_bits is not None
    candidates = asked(state, 0, rate=0.9, elites=elites)
    assert torch.equal(candidates[:, 0], state.best_bits)
    assert torch.equal(candidates[:, 1 : 1 + elites], select(state.bits, state.standing, elites))


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.5, 1.0]))
def test_swaps_keep_the_count_of_every_segment(seed: int, rate: float) -> None:
    segments = (slice(0, 5), slice(5, 6), slice(6, 20))
    parent = random_bits(2, 1, 20, seed=seed)
    parent[..., 5] = True
    parents = torch.cat([parent, parent], dim=1)
    vary = SwapWithinSegments(segments, rate)
    children = vary.children(parents, 30, torch.Generator().manual_seed(seed))
    for segment in segments:
        counts = children[..., segment].sum(dim=2)
        assert torch.equal(counts, parent[..., segment].sum(dim=2).expand_as(counts))
    moved = (children ^ parent).sum(dim=2)
    assert bool((moved % 2 == 0).all())
    assert int(moved.max()) <= 4  # one swap a segment, and the lone bit has no partner
    if rate == 0:
        assert int(moved.max()) == 0
    if rate == 1:
        swappable = [bool(parent[0, 0, s].any() and not parent[0, 0, s].all()) for s in segments]
        assert int(moved[0].min()) == 2 * sum(swappable)


def test_each_segment_of_a_swapped_child_comes_from_a_parent() -> None:
    parents = torch.zeros(1, 2, 8, dtype=torch.bool)
    parents[0, 0, [0, 1, 4, 5]] = True
    parents[0, 1, [2, 3, 6, 7]] = True
    vary = SwapWithinSegments((slice(0, 4), slice(4, 8)), 0.0)
    children = vary.children(parents, 200, torch.Generator().manual_seed(0))[0]
    kinds = {tuple(child.long().tolist()) for child in children}
    assert kinds == {
        (*head, *tail)
        for head in ((1, 1, 0, 0), (0, 0, 1, 1))
        for tail in ((1, 1, 0, 0), (0, 0, 1, 1))
    }
