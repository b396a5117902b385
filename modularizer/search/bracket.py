"""The bracket: from N x I candidates to the best composed model, pair by pair (section 3.3.3).

Classes are paired at random. All two-class models of a pair are scored on the images of their
two classes; the best go on to be paired into four-class models, and so on until all classes are
in. A composed model is an argmax over columns of scores: a candidate is run once on an image,
only on images of the classes that it meets, and no further than it gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from modularizer.errors import ModularizerError
from modularizer.search.fitness import Fitness, Passing

MOST_MODELS = 1_000_000
"""How many models a bracket without stages may hold at once."""


@dataclass(frozen=True, eq=False)
class Asked:
    """Scores that a bracket needs next.

    Attributes:
        label: the class whose scores they are.
        candidates: int64 (k,), which of its candidates, each once.
        image_classes: on the images of these classes.
    """

    label: int
    candidates: Tensor
    image_classes: Sequence[int]


class Candidates(Protocol):
    """What a bracket asks about the candidates; tensors on one device."""

    @property
    def image_counts(self) -> Sequence[int]:
        """Images of each class, in class order."""
        ...

    @property
    def count(self) -> int:
        """Candidates a class."""
        ...

    def scores(self, asked: Sequence[Asked]) -> list[Tensor]:
        """All scores of a stage, so that they can be found side by side.

        Returns:
            For each that is asked float32 (k, images), in the order of its ``image_classes``.
        """
        ...

    def distances(self, first: int, of_first: Tensor, second: int, of_second: Tensor) -> Tensor:
        """Jaccard distances between candidates of two classes: float32 (k of one, k of other)."""
        ...


@dataclass(frozen=True)
class BracketResult:
    """What a bracket found.

    Attributes:
        combination: int64 (classes,): for each class, the candidate in the best composed model.
        accuracy: its accuracy on all images, in [0, 1].
        diff: its mean Jaccard distance over pairs, in [0, 1].
        fitness: what the two are worth together.
        standing: float64 (classes, candidates): the number of classes of the largest model that
            a candidate took part in, plus half its best fitness there, so that the size decides
            first. Comparable within a class.
    """

    combination: Tensor
    accuracy: float
    diff: float
    fitness: float
    standing: Tensor


@dataclass(frozen=True, eq=False)
class _Column:
    """The candidates of one class in a team's models.

    Attributes:
        distinct: int64 (k,), each once.
        where: int64 (models,), which of them a model has.
    """

    distinct: Tensor
    where: Tensor


@dataclass(frozen=True, eq=False)
class _Team:
    """Composed models of some classes.

    Attributes:
        classes: which classes, in the order of the columns of ``members``.
        members: int64 (models, classes of the team): the candidate of each class. Row 0 is the
            combination that must stay in, where there is one.
        winning: float32 (models, images of the team): the true class's score where the model is
            right, -inf where it is wrong; None while that is not known (of a lone class).
        distance: float64 (models,): sum of Jaccard distances over the model's pairs.
        accuracy: float64 (models,).
    """

    classes: tuple[int, ...]
    members: Tensor
    winning: Tensor | None
    distance: Tensor
    accuracy: Tensor

    @cached_property
    def columns(self) -> list[_Column]:
        """The models' candidates, class by class."""
        return [_Column(*column.unique(return_inverse=True)) for column in self.members.T]


def run_bracket(
    candidates: Candidates,
    *,
    fitness: Fitness,
    passing: Passing | None,
    generator: torch.Generator,
    keep: Tensor | None = None,
) -> BracketResult:
    """Find the best composed model among ``candidates ** classes``, stage by stage.

    Where scores are equal the class with the lower index wins, as in ``argmax``.

    Args:
        candidates: of every class, with their scores and distances.
        fitness: what a composed model is worth.
        passing: which models of a stage go on to the next; None for all of them, which is no
            bracket any more but every combination, for small cases.
        generator: pairs the classes; on the CPU.
        keep: int64 (classes,): a combination that stays in to the end, or None.

    Raises:
        ModularizerError: if there are fewer than two classes, a class has no image, a score is
            not finite, or every combination is asked for and there are too many.
    """
    classes = len(candidates.image_counts)
    if classes < 2:
        raise ModularizerError(f"a bracket needs at least two classes, found {classes}")
    missing = [label for label, count in enumerate(candidates.image_counts) if not count]
    if missing:
        raise ModularizerError(f"no validation image of class {missing}; each class needs some")
    if passing is None:
        require_few_combinations(candidates.count, classes)
    stages = _Stages(candidates, fitness, passing, keep is not None)
    order = torch.randperm(classes, generator=generator).tolist()
    teams = [stages.lone(label, None if keep is None else int(keep[label])) for label in order]
    while len(teams) > 1:
        pairs = list(zip(teams[0::2], teams[1::2], strict=False))
        waiting = teams[len(teams) // 2 * 2 :]
        teams = stages.merge(pairs) + waiting
    (final,) = teams
    values = fitness(final.accuracy, final.distance / _pairs(classes))
    best = int(values.argmax())
    combination = torch.empty(classes, dtype=torch.int64)
    combination[list(final.classes)] = final.members[best].cpu()
    return BracketResult(
        combination=combination,
        accuracy=float(final.accuracy[best]),
        diff=float(final.distance[best]) / _pairs(classes),
        fitness=float(values[best]),
        standing=torch.stack(stages.standing).cpu(),
    )


def require_few_combinations(candidates: int, classes: int) -> None:
    """Refuse to compare every combination where there are too many.

    Raises:
        ModularizerError: if there are more than `MOST_MODELS`.
    """
    if candidates**classes > MOST_MODELS:
        raise ModularizerError(
            f"{candidates} candidates of {classes} classes make {candidates}^{classes} models; "
            f"without a bracket at most {MOST_MODELS:,} can be compared"
        )


class _Stages:
    """Merges teams, and notes how far each candidate got."""

    def __init__(
        self,
        candidates: Candidates,
        fitness: Fitness,
        passing: Passing | None,
        keeps_one: bool,
    ) -> None:
        self.candidates = candidates
        self.fitness = fitness
        self.passing = passing
        self.keeps_one = keeps_one
        self.standing = [
            torch.zeros(candidates.count, dtype=torch.float64) for _ in candidates.image_counts
        ]

    def lone(self, label: int, kept: int | None) -> _Team:
        """The one-class models of a class: always right."""
        count = self.candidates.count
        members = torch.arange(count)
        if kept is not None:
            members = torch.cat([members[kept : kept + 1], members[:kept], members[kept + 1 :]])
        return _Team(
            classes=(label,),
            members=members[:, None],
            winning=None,
            distance=torch.zeros(count, dtype=torch.float64),
            accuracy=torch.ones(count, dtype=torch.float64),
        )

    def merge(self, pairs: Sequence[tuple[_Team, _Team]]) -> list[_Team]:
        """One stage: of each pair every model with every other; the best of them."""
        asked = [one for a, b in pairs for one in (*_asked(a, b), *_asked(b, a))]
        found = iter(self.candidates.scores(asked))
        given = zip(asked, found, strict=True)
        return [self._merged(first, second, given) for first, second in pairs]

    def _merged(self, first: _Team, second: _Team, given: Iterator[tuple[Asked, Tensor]]) -> _Team:
        first_won, second_bar = self._scores(first, second, given)
        second_won, first_bar = self._scores(second, first, given)
        classes = first.classes + second.classes
        right = _count_right(first_won, first_bar) + _count_right(second_won, second_bar).T
        accuracy = right.to(torch.float64) / (first_won.shape[1] + second_won.shape[1])
        distance = (
            first.distance.to(right.device)[:, None]
            + second.distance.to(right.device)[None, :]
            + self._distances(first, second, right.device)
        )
        fitness = self.fitness(accuracy, distance / _pairs(len(classes)))
        self._note_standing(first, fitness.amax(dim=1), len(classes))
        self._note_standing(second, fitness.amax(dim=0), len(classes))

        chosen = self._chosen(fitness.flatten(), accuracy.flatten(), len(classes))
        width = len(second.members)
        i, j = chosen // width, chosen % width
        winning = None
        if len(classes) < len(self.candidates.image_counts):  # nobody is left to compare with
            winning = torch.cat(
                [
                    torch.where(first_won[i] > first_bar[j], first_won[i], -torch.inf),
                    torch.where(second_won[j] > second_bar[i], second_won[j], -torch.inf),
                ],
                dim=1,
            )
        members = torch.cat([first.members.to(i.device)[i], second.members.to(j.device)[j]], dim=1)
        return _Team(classes, members, winning, distance[i, j], accuracy[i, j])

    def _chosen(self, fitness: Tensor, accuracy: Tensor, classes: int) -> Tensor:
        """Indices of the models that go on; what must stay in comes first."""
        if self.passing is None:
            return torch.arange(len(fitness), device=fitness.device)
        if not self.keeps_one:
            return self.passing.chosen(fitness, accuracy, classes)
        kept = torch.zeros(1, dtype=torch.int64, device=fitness.device)  # row 0 of both teams
        if len(fitness) == 1:
            return kept
        return torch.cat([kept, 1 + self.passing.chosen(fitness[1:], accuracy[1:], classes)])

    def _scores(
        self, team: _Team, other: _Team, given: Iterator[tuple[Asked, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """A team's winning scores on its images, and what it gives on the other team's images.

        Args:
            team: whose models.
            other: the team that it meets.
            given: what was asked for the two, and found; the team's part is taken.

        Returns:
            winning: float32 (models, images of the team).
            bar: float32 (models, images of the other team): what the true class must exceed.
        """
        highest: Tensor | None = None
        winning = team.winning
        for column, label in zip(team.columns, team.classes, strict=True):
            _, found = next(given)
            _require_finite(found, label, column.distinct)
            where = column.where
            if team.winning is None:
                count = self.candidates.image_counts[label]
                winning, found = found[:, :count][where], found[:, count:]
            bar = self._to_beat(label, found, other.classes)[where]
            highest = bar if highest is None else torch.maximum(highest, bar)
        assert winning is not None
        assert highest is not None
        return winning, highest

    def _to_beat(self, label: int, found: Tensor, image_classes: Sequence[int]) -> Tensor:
        """What an image's class must exceed to win against ``label``.

        A class with a lower index needs no more than to be equal: >= s is > the float below s,
        so that one comparison serves both.
        """
        lowest = torch.tensor(-torch.inf, device=found.device)
        counts = [self.candidates.image_counts[one] for one in image_classes]
        parts = [
            part if label < image_class else torch.nextafter(part, lowest)
            for image_class, part in zip(image_classes, found.split(counts, dim=1), strict=True)
        ]
        return torch.cat(parts, dim=1)

    def _distances(self, first: _Team, second: _Team, device: torch.device) -> Tensor:
        """Sum of distances across two teams: float64 (models of first, models of second)."""
        shape = (len(first.members), len(second.members))
        total = torch.zeros(shape, dtype=torch.float64, device=device)
        for a, one in zip(first.classes, first.columns, strict=True):
            for b, other in zip(second.classes, second.columns, strict=True):
                between = self.candidates.distances(a, one.distinct, b, other.distinct)
                total += between.to(device)[one.where][:, other.where]
        return total

    def _note_standing(self, team: _Team, best: Tensor, size: int) -> None:
        worth = size + best / 2
        for position, label in enumerate(team.classes):
            known = self.standing[label].to(best.device)
            members = team.members[:, position].to(best.device)
            self.standing[label] = known.scatter_reduce(0, members, worth, "amax")


def _asked(team: _Team, other: _Team) -> list[Asked]:
    """What a team has to know to meet another; of its own images if it doesn't yet."""
    return [
        Asked(
            label,
            column.distinct,
            (*(() if team.winning is not None else (label,)), *other.classes),
        )
        for label, column in zip(team.classes, team.columns, strict=True)
    ]


def _require_finite(scores: Tensor, label: int, candidates: Tensor) -> None:
    finite = torch.isfinite(scores).all(dim=1)
    if not finite.all():
        candidate = int(candidates[(~finite).nonzero()[0, 0]])
        raise ModularizerError(
            f"candidate {candidate} of class {label} gives NaN or infinite scores; the strong "
            "model's activations overflow, or its images are broken"
        )


def _count_right(winning: Tensor, bar: Tensor) -> Tensor:
    """How often each row of ``winning`` exceeds each row of ``bar``: int64 (rows, rows)."""
    return torch.stack([(row > bar).sum(dim=1) for row in winning])


def _pairs(classes: int) -> int:
    return classes * (classes - 1) // 2
