"""The genetic search as ask and tell (section 3.2.2): pure steps from one state to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

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
        best_accuracy: its accuracy, in [0, 1].
        generation: generations told.
        stale: generations since the best got better.
    """

    bits: Tensor
    standing: Tensor | None = None
    best_bits: Tensor | None = None
    best_fitness: float = float("-inf")
    best_accuracy: float = 0.0
    generation: int = 0
    stale: int = 0


class Variation(Protocol):
    """How children come from parents."""

    def children(self, parents: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """New candidates.

        Args:
            parents: bool (classes, parents, groups), the best first.
            count: children a class.
            generator: every random choice.

        Returns:
            bool (classes, count, groups).
        """
        ...


@dataclass(frozen=True)
class CrossAndFlip:
    """Single-point crossover of random pairs, then flips: the paper's.

    Attributes:
        rate: the chance that a bit of a child is flipped, in [0, 1].
    """

    rate: float

    def children(self, parents: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Crossed and flipped children."""
        return mutate(cross(parents, children=count, generator=generator), self.rate, generator)


@dataclass(frozen=True)
class SwapWithinSegments:
    """Children that keep as many channels of each segment as their parents do.

    Each segment comes from one of two parents; then, by chance, one of its channels that is
    kept changes places with one that is not. For parents that agree in their counts.

    Attributes:
        segments: for each segment, the slice of its bits; one bit a channel.
        rate: the chance that a segment of a child swaps two channels, in [0, 1].
    """

    segments: tuple[slice, ...]
    rate: float

    def children(self, parents: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Children with their parents' counts."""
        classes, available, _ = parents.shape
        index = torch.arange(classes)[:, None]
        children = torch.empty(classes, count, parents.shape[2], dtype=torch.bool)
        pair = torch.randint(available, (2, classes, count), generator=generator)
        for segment in self.segments:
            second = torch.rand(classes, count, generator=generator) < 0.5
            chosen = torch.where(second, pair[1], pair[0])
            part = parents[index, chosen][..., segment]
            keys = torch.rand(part.shape, generator=generator)
            leaves = torch.where(part, keys, -1.0).argmax(dim=2, keepdim=True)
            enters = torch.where(part, -1.0, keys).argmax(dim=2, keepdim=True)
            swaps = torch.rand(classes, count, 1, generator=generator) < self.rate
            swaps &= part.any(dim=2, keepdim=True) & ~part.all(dim=2, keepdim=True)
            swapped = part.scatter(2, leaves, False).scatter(2, enters, True)
            children[..., segment] = torch.where(swaps, swapped, part)
        return children


def ask(
    state: SearchState,
    *,
    parents: int,
    elites: int,
    vary: Variation,
    generator: torch.Generator,
) -> Tensor:
    """The next candidates: the first ones as they are, then children of the best.

    Candidate 0 of each class is its part of the best combination so far, unchanged, so that the
    combination stays in the bracket; the elites follow.

    Args:
        state: where the search stands.
        parents: how many of a class's candidates have children.
        elites: how many of them go on unchanged, too.
        vary: how children come from parents.
        generator: every random choice.

    Returns:
        bool (classes, candidates, groups).
    """
    if state.standing is None or state.best_bits is None:
        return state.bits
    chosen = select(state.bits, state.standing, max(parents, elites))
    children = vary.children(chosen[:, :parents], state.bits.shape[1], generator)
    children[:, 0] = state.best_bits
    children[:, 1 : 1 + elites] = chosen[:, :elites]
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
        return replace(
            after,
            best_bits=best,
            best_fitness=result.fitness,
            best_accuracy=result.accuracy,
            stale=0,
        )
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
