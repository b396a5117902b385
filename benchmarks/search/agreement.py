"""Whether the plain way and the search come to the same, to the last bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.search.reference import Judged, PlainBracket, Scores, Table
from modularizer.search.diversity import jaccard_distances
from modularizer.search.fitness import Passing
from modularizer.search.scoring import CandidateScorer


class Recorded:
    """Lets models pass as another rule does, and keeps what it was shown and what it chose."""

    def __init__(self, passing: Passing) -> None:
        self.passing = passing
        self.stages: list[Judged] = []

    def chosen(self, fitness: Tensor, accuracy: Tensor, classes: int) -> Tensor:
        """What the other rule chooses."""
        chosen = self.passing.chosen(fitness, accuracy, classes)
        self.stages.append(Judged(classes, fitness.cpu(), accuracy.cpu(), chosen.cpu()))
        return chosen


def disagreements(
    plain: PlainBracket,
    recorded: Sequence[Judged],
    standing: Tensor | None = None,
) -> list[str]:
    """Where a plain bracket and the search's own differ, stage by stage; none if all is well.

    Every accuracy and fitness that both have must be equal, to the last bit, and so must be which
    models went on, and in which order; and how far each candidate got.

    Args:
        plain: after its run.
        recorded: what the search's own rule was shown.
        standing: float64 (classes, candidates) of the search; None not to compare.
    """
    found = []
    if len(plain.stages) != len(recorded):
        found.append(f"{len(plain.stages)} stages, the search has {len(recorded)}")
    first = int(plain.keeps_one)
    for number, ((indices, own), other) in enumerate(zip(plain.stages, recorded, strict=False)):
        shown = torch.tensor(indices) - first
        seen = shown >= 0
        for name in ("accuracy", "fitness"):
            expected = getattr(other, name)[shown[seen]]
            wrong = int((getattr(own, name)[seen] != expected).sum())
            if wrong:
                found.append(f"stage {number}: {wrong} of {len(expected)} models differ in {name}")
        if not torch.equal(own.chosen[first:] - first, other.chosen):
            found.append(f"stage {number}: other models go on")
    if standing is not None and not torch.equal(
        torch.tensor(plain.standing, dtype=torch.float64), standing
    ):
        found.append("candidates got to other stages, or did otherwise there")
    return found


def completed_scores(
    scores: Scores, scorer: CandidateScorer, masks: Tensor
) -> tuple[Scores, list[str]]:
    """Scores with those filled in that the search knows; and where the two differ.

    Args:
        scores: NaN of candidates that were not run.
        scorer: remembers what the search ran.
        masks: bool (classes, candidates, channels).
    """
    filled, ends = scores.copy(), np.cumsum(scorer.images.counts)
    ran, differ = scorer.ran(masks), 0
    for label, candidate, image_class in ran.nonzero().tolist():
        stop = int(ends[image_class])
        place = (label, candidate, slice(stop - scorer.images.counts[image_class], stop))
        known = scorer.scores(masks[label, candidate][None], label, [image_class])[0].cpu().numpy()
        if np.isnan(scores[place]).any():
            filled[place] = known
        else:
            differ += int(not np.array_equal(scores[place], known))
    wrong = [f"{differ} candidates score otherwise on images of a class"] if differ else []
    return filled, wrong


def completed_table(table: Table, masks: Tensor, weights: Tensor) -> tuple[Table, list[str]]:
    """The search's own distances, all of them; and where those of a sample differ.

    Args:
        table: NaN of pairs that were not compared.
        masks: bool (classes, candidates, channels).
        weights: int64 (channels,): kernels that each channel stands for.
    """
    differ = 0
    whole: dict[tuple[int, int], list[list[float]]] = {}
    for (a, b), rows in table.items():
        own = jaccard_distances(masks[a], masks[b], weights).double()
        sampled = torch.tensor(rows, dtype=torch.float64)
        differ += int((~sampled.isnan() & (sampled != own)).sum())
        whole[a, b] = own.tolist()
    return whole, [f"{differ} distances differ"] if differ else []
