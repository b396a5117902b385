"""What every search is given, and what it gives back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from modularizer.analysis.plan import SlicingPlan
from modularizer.checkpoint import Checkpoint
from modularizer.progress import ProgressCallback
from modularizer.search.fitness import AccuratePass, Fitness, FittestPass, Passing
from modularizer.search.scoring import CandidateScorer
from modularizer.settings import DecompositionSettings


@dataclass(frozen=True, eq=False)
class SearchTask:
    """What every search is given.

    Attributes:
        scorer: runs candidates on the validation images.
        importance: float64 (classes, channels), read on training images.
        settings: how.
        checkpoint: where every step is kept.
        progress: told after every step.
    """

    scorer: CandidateScorer
    importance: Tensor
    settings: DecompositionSettings
    checkpoint: Checkpoint
    progress: ProgressCallback

    @property
    def plan(self) -> SlicingPlan:
        """The strong network's slicing plan."""
        return self.scorer.plan

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.scorer.images.counts)


@dataclass(frozen=True, eq=False)
class Masks:
    """What a search found.

    Attributes:
        kept: bool (classes, channels).
        accuracy: of the composed model on the validation images, in [0, 1].
        diff: mean Jaccard distance between the modules, in [0, 1].
        history: for each generation ``fitness``, ``accuracy``, ``diff`` and ``kernels_kept`` (the
            mean over classes) of the best combination so far, and ``passes``: candidates x images
            run in it.
        passes: candidates x images that the search has run, all in all; a backward pass of a
            gradient search counts as two.
    """

    kept: Tensor
    accuracy: float
    diff: float
    history: tuple[Mapping[str, float], ...]
    passes: int


def generator_for(seed: int, purpose: str) -> torch.Generator:
    """A generator on the CPU for one purpose; what others draw doesn't move it."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def fitness_of(settings: DecompositionSettings) -> Fitness:
    """What a composed model is worth."""
    return Fitness(settings.alpha, adaptive=settings.adaptive_alpha)


def passing_of(settings: DecompositionSettings) -> Passing | None:
    """Which models of a bracket's stage go on; None for all."""
    if not settings.bracket:
        return None
    if settings.passing == "top":
        return FittestPass(settings.top)
    return AccuratePass(least=settings.least_passing, most=settings.most_passing)
