"""What a composed model is worth, and which models of a bracket's stage go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Fitness:
    """Accuracy weighed against diversity (section 3.3.1).

    Attributes:
        alpha: weight of the accuracy, in [0, 1].
        adaptive: add to alpha what the accuracy lacks to ``wanted``, model by model, as the
            paper's published code does; the weight may pass 1 then.
        wanted: the accuracy from which an adaptive alpha is alpha.
    """

    alpha: float
    adaptive: bool = False
    wanted: float = 0.9

    def __call__(self, accuracy: Tensor, diff: Tensor) -> Tensor:
        """``alpha * accuracy + (1 - alpha) * diff``, element by element.

        Args:
            accuracy: float64 (...), in [0, 1].
            diff: float64, same shape: mean Jaccard distances.
        """
        alpha = self.alpha + (self.wanted - accuracy).clamp_min(0) if self.adaptive else self.alpha
        return alpha * accuracy + (1 - alpha) * diff


class Passing(Protocol):
    """Which models of a stage go on."""

    def chosen(self, fitness: Tensor, accuracy: Tensor, classes: int) -> Tensor:
        """Indices into ``fitness``, the fittest first.

        Args:
            fitness: float64 (models,).
            accuracy: float64 (models,).
            classes: of each model.
        """
        ...


@dataclass(frozen=True)
class FittestPass:
    """The fittest go on (section 3.3.3).

    Attributes:
        top: how many (N_top).
    """

    top: int

    def chosen(self, fitness: Tensor, accuracy: Tensor, classes: int) -> Tensor:
        """The ``top`` fittest."""
        return fitness.topk(min(self.top, len(fitness))).indices


@dataclass(frozen=True)
class AccuratePass:
    """All that are accurate enough go on, within bounds: the paper's published code.

    Attributes:
        thresholds: (classes, accuracy) in rising order: models of at least that many classes
            must be at least that accurate.
        least: how many go on even if they are not accurate enough, the fittest.
        most: how many go on at most, the fittest.
    """

    thresholds: tuple[tuple[int, float], ...] = ((2, 0.95), (4, 0.95), (8, 0.85), (10, 0.80))
    least: int = 50
    most: int = 500

    def chosen(self, fitness: Tensor, accuracy: Tensor, classes: int) -> Tensor:
        """The accurate ones, the fittest of them first."""
        threshold = next((a for size, a in reversed(self.thresholds) if classes >= size), 0.0)
        accurate = accuracy >= threshold
        count = min(max(int(accurate.sum()), self.least), self.most, len(fitness))
        ranked = torch.where(accurate, fitness + 4, fitness)  # fitness stays within (-2, 2)
        return ranked.topk(count).indices
