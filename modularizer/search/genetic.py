"""The genetic search as ask and tell (section 3.2.2): pure steps from one state to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from modularizer.search.bracket import BracketResult


@dataclass(frozen=True)
class SearchState:
    """Where a search stands between two generations.

    Attributes:
        bits: bool (classes, candidates, groups): the candidates of the last generation told.
        standing: float64 (classes, candidates): how good each was; None before the first.
        best_bits: bool (classes, groups): the best combination so far; None before the first.
        best_fitness: its fitness.
        generation: generations told.
        stale: generations since the best got better.
    """

    bits: Tensor
    standing: Tensor | None = None
    best_bits: Tensor | None = None
    best_fitness: float = float("-inf")
    generation: int = 0
    stale: int = 0


def ask(
    state: SearchState, *, parents: int, mutation_rate: float, generator: torch.Generator
) -> Tensor:
    """The next candidates: the first ones as they are, then children of the best.

    Candidate 0 of each class is its part of the best combination so far, unchanged, so that the
    combination stays in the bracket.

    Args:
        state: where the search stands.
        parents: how many of a class's candidates have children.
        mutation_rate: the chance that a bit of a child is flipped, in [0, 1].
        generator: every random choice.

    Returns:
        bool (classes, candidates, groups).
    """
    if state.standing is None or state.best_bits is None:
        return state.bits
    chosen = select(state.bits, state.standing, parents)
    children = cross(chosen, children=state.bits.shape[1], generator=generator)
    children = mutate(children, mutation_rate, generator)
    children[:, 0] = state.best_bits
    return children


def tell(state: SearchState, bits: Tensor, result: BracketResult) -> SearchState:
    """The state after a generation has been scored.

    Args:
        state: the state that was asked.
        bits: bool (classes, candidates, groups): the candidates that were scored.
        result: what the bracket found among them.
    """
    after = replace(state, bits=bits, standing=result.standing, generation=state.generation + 1)
    if result.fitness > state.best_fitness:
        best = bits[torch.arange(len(bits)), result.combination]
        return replace(after, best_bits=best, best_fitness=result.fitness, stale=0)
    return replace(after, stale=state.stale + 1)


def select(bits: Tensor, standing: Tensor, parents: int) -> Tensor:
    """The best ``parents`` candidates of each class: bool (classes, parents, groups)."""
    best = standing.argsort(dim=1, descending=True, stable=True)[:, :parents]
    return bits.gather(1, best[..., None].expand(-1, -1, bits.shape[2]))


def cross(parents: Tensor, *, children: int, generator: torch.Generator) -> Tensor:
    """Single-point crossover of random pairs: bool (classes, children, groups)."""
    classes, count, groups = parents.shape
    shape = (classes, children)
    first = torch.randint(count, shape, generator=generator)
    step = torch.randint(1, max(count, 2), shape, generator=generator)
    second = (first + step) % count  # another parent than the first, where there is one
    point = torch.randint(1, max(groups, 2), shape, generator=generator)
    index = torch.arange(classes)[:, None]
    head = torch.arange(groups) < point[..., None]
    return torch.where(head, parents[index, first], parents[index, second])


def mutate(bits: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Flip each bit with probability ``rate``, same shape."""
    return bits ^ (torch.rand(bits.shape, generator=generator) < rate)
