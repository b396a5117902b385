"""The bracket: from N x I candidates to the best composed model, pair by pair (section 3.3.3).

Classes are paired at random. All two-class models of a pair are scored on the images of their
two classes; the best go on to be paired into four-class models, and so on until all classes are
in. Every candidate has been run once before: a composed model is an argmax over known columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from modularizer.errors import ModularizerError


@dataclass(frozen=True)
class BracketResult:
    """What a bracket found.

    Attributes:
        combination: int64 (classes,): for each class, the candidate in the best composed model.
        accuracy: its accuracy on all images, in [0, 1].
        diff: its mean Jaccard distance over pairs, in [0, 1].
        fitness: ``alpha * accuracy + (1 - alpha) * diff``.
        standing: float64 (classes, candidates): the number of classes of the largest model that
            a candidate took part in, plus half its best fitness there, so that the size decides
            first. Comparable within a class.
    """

    combination: Tensor
    accuracy: float
    diff: float
    fitness: float
    standing: Tensor


@dataclass(frozen=True)
class _Team:
    """Composed models of some classes.

    Attributes:
        classes: which classes, in the order of the columns of ``members``.
        members: int64 (models, classes of the team): the candidate of each class.
        winning: float32 (models, images of the team): the true class's score where the model is
            right, -inf where it is wrong.
        images: int64: which images belong to the team's classes.
        distance: float64 (models,): sum of Jaccard distances over the model's pairs.
        kept: the row of ``members`` that must stay in, or None.
        accuracy: float64 (models,).
    """

    classes: tuple[int, ...]
    members: Tensor
    winning: Tensor
    images: Tensor
    distance: Tensor
    kept: int | None
    accuracy: Tensor


def run_bracket(
    columns: Tensor,
    labels: Tensor,
    distances: Tensor,
    *,
    alpha: float,
    top: int,
    generator: torch.Generator,
    keep: Tensor | None = None,
) -> BracketResult:
    """Find the best composed model among ``candidates ** classes``, stage by stage.

    Where scores are equal the class with the lower index wins, as in ``argmax``.

    Args:
        columns: float32 (classes, candidates, images): each candidate's score of its own class.
        labels: int64 (images,).
        distances: float32 (classes * candidates, classes * candidates): Jaccard distances.
        alpha: weight of the accuracy against the distance, in [0, 1].
        top: models of a stage that go on to the next.
        generator: pairs the classes.
        keep: int64 (classes,): a combination that stays in to the end, or None.

    Raises:
        ModularizerError: if there are fewer than two classes, a class has no image, or a score
            is not finite.
    """
    classes, candidates, _ = columns.shape
    if classes < 2:
        raise ModularizerError(f"a bracket needs at least two classes, found {classes}")
    finite = torch.isfinite(columns).all(dim=2)
    if not finite.all():
        label, candidate = (~finite).nonzero()[0].tolist()
        raise ModularizerError(
            f"candidate {candidate} of class {label} gives NaN or infinite scores; the strong "
            "model's activations overflow, or its images are broken"
        )
    missing = sorted(set(range(classes)) - set(labels.unique().tolist()))
    if missing:
        raise ModularizerError(f"no validation image of class {missing}; each class needs some")
    scores = _Scores(columns, labels, distances.view(classes, candidates, classes, candidates))
    standing = torch.zeros(classes, candidates, dtype=torch.float64)
    order = torch.randperm(classes, generator=generator).tolist()
    teams = [scores.lone(c, None if keep is None else int(keep[c])) for c in order]
    while len(teams) > 1:
        pairs = zip(teams[0::2], teams[1::2], strict=False)
        waiting = teams[len(teams) // 2 * 2 :]
        teams = [_merge(a, b, scores, alpha, top, standing) for a, b in pairs] + waiting
    (final,) = teams
    fitness = _fitness(final.accuracy, final.distance, classes, alpha)
    best = int(fitness.argmax())
    combination = torch.empty(classes, dtype=torch.int64)
    combination[list(final.classes)] = final.members[best]
    return BracketResult(
        combination=combination,
        accuracy=float(final.accuracy[best]),
        diff=float(final.distance[best]) / _pairs(classes),
        fitness=float(fitness[best]),
        standing=standing,
    )


class _Scores:
    """The columns, in the form in which models are compared."""

    def __init__(self, columns: Tensor, labels: Tensor, distances: Tensor) -> None:
        self.columns = columns
        # Beating a class with a higher index needs no more than being equal to it: >= s is
        # > the float below s, so that one comparison serves both.
        self.below = torch.nextafter(columns, torch.tensor(-torch.inf))
        self.labels = labels
        self.distances = distances

    def lone(self, label: int, kept: int | None) -> _Team:
        """The one-class models of a class: always right."""
        images = (self.labels == label).nonzero().flatten()
        candidates = self.columns.shape[1]
        return _Team(
            classes=(label,),
            members=torch.arange(candidates)[:, None],
            winning=self.columns[label][:, images].contiguous(),
            images=images,
            distance=torch.zeros(candidates, dtype=torch.float64),
            kept=kept,
            accuracy=torch.ones(candidates, dtype=torch.float64),
        )

    def to_beat(self, team: _Team, images: Tensor) -> Tensor:
        """What another class's score must exceed: float32 (models, images)."""
        labels = self.labels[images]
        highest = torch.full((len(team.members), len(images)), -torch.inf)
        for position, label in enumerate(team.classes):
            column = torch.where(
                label < labels, self.columns[label][:, images], self.below[label][:, images]
            )
            torch.maximum(highest, column[team.members[:, position]], out=highest)
        return highest

    def between(self, first: _Team, second: _Team) -> Tensor:
        """Sum of distances across two teams: float64 (models of first, models of second)."""
        total = torch.zeros(len(first.members), len(second.members), dtype=torch.float64)
        for i, a in enumerate(first.classes):
            for j, b in enumerate(second.classes):
                rows = self.distances[a, :, b][first.members[:, i]]
                total += rows[:, second.members[:, j]]
        return total


def _merge(
    first: _Team,
    second: _Team,
    scores: _Scores,
    alpha: float,
    top: int,
    standing: Tensor,
) -> _Team:
    """Score every model of the first team with every model of the second; keep the best."""
    first_bar = scores.to_beat(second, first.images)
    second_bar = scores.to_beat(first, second.images)
    right = _count_right(first.winning, first_bar) + _count_right(second.winning, second_bar).T
    classes = first.classes + second.classes
    images = torch.cat([first.images, second.images])
    accuracy = right.to(torch.float64) / len(images)
    distance = first.distance[:, None] + second.distance[None, :] + scores.between(first, second)
    fitness = _fitness(accuracy, distance, len(classes), alpha)
    _note_standing(standing, first, fitness.amax(dim=1), len(classes))
    _note_standing(standing, second, fitness.amax(dim=0), len(classes))

    width = len(second.members)
    chosen = fitness.flatten().topk(min(top, fitness.numel())).indices
    kept = None
    if first.kept is not None and second.kept is not None:
        chosen, kept = _holding(chosen, first.kept * width + second.kept)
    i, j = chosen // width, chosen % width
    first_won = torch.where(first.winning[i] > first_bar[j], first.winning[i], -torch.inf)
    second_won = torch.where(second.winning[j] > second_bar[i], second.winning[j], -torch.inf)
    return _Team(
        classes=classes,
        members=torch.cat([first.members[i], second.members[j]], dim=1),
        winning=torch.cat([first_won, second_won], dim=1),
        images=images,
        distance=distance[i, j],
        kept=kept,
        accuracy=accuracy[i, j],
    )


def _count_right(winning: Tensor, bar: Tensor) -> Tensor:
    """How often each row of ``winning`` exceeds each row of ``bar``: int64 (rows, rows)."""
    return torch.stack([(row > bar).sum(dim=1) for row in winning])


def _fitness(accuracy: Tensor, distance: Tensor, classes: int, alpha: float) -> Tensor:
    return alpha * accuracy + (1 - alpha) * distance / _pairs(classes)


def _pairs(classes: int) -> int:
    return classes * (classes - 1) // 2


def _note_standing(standing: Tensor, team: _Team, best: Tensor, size: int) -> None:
    for position, label in enumerate(team.classes):
        standing[label].scatter_reduce_(0, team.members[:, position], size + best / 2, "amax")


def _holding(chosen: Tensor, index: int) -> tuple[Tensor, int]:
    """The chosen indices and ``index``, beside them if it was not among them; and where it is."""
    found: list[int] = (chosen == index).nonzero().flatten().tolist()
    if found:
        return chosen, found[0]
    return torch.cat([chosen, torch.tensor([index])]), len(chosen)
