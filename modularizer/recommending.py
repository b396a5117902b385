"""Which class modules make a weak model better, alone and together, by measurement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from modularizer.assembly.fitting import BranchScores, predicted_labels
from modularizer.assembly.kept_fits import fits_are_kept
from modularizer.errors import CalibrationError
from modularizer.macro_f1 import macro_f1, macro_f1_gain
from modularizer.metrics import Interval, Labels, class_metrics, is_more_than
from modularizer.patching import JudgedRule, judge, judging_scores, most_gaining
from modularizer.rules import RuleName, StoredCalibrations

Obstacle = Literal["no images", "no rule", "no gain", "others lose"]
OBSTACLES: dict[Obstacle, str] = {
    "no images": "there are too few images of its class, or of others, to judge it by",
    "no rule": "no rule can be fitted",
    "no gain": "no rule makes its class better and the model no worse as a whole",
    "others lose": "the classes that are not patched lose more than is allowed",
}


@dataclass(frozen=True, eq=False)
class Candidate:
    """A class module that was run over the validation images.

    Attributes:
        address: what it is called; a tie goes to the first in the alphabet.
        class_name: the class that it would patch, as the weak model calls it.
        raw: its score of each image, float32 (N,).
        stored: the calibrations stored with it.
    """

    address: str
    class_name: str
    raw: Tensor
    stored: StoredCalibrations


@dataclass(frozen=True, eq=False)
class Task:
    """A weak model on labelled images, and what is allowed.

    Attributes:
        weak_logits: float32 (N, classes).
        labels: int64 (N,).
        class_names: the weak model's.
        rules: to choose from as `modularizer.patching.choose_rule` does.
        max_others_loss: of the accuracy on classes that are not patched, in [0, 1].
    """

    weak_logits: Tensor
    labels: Labels
    class_names: tuple[str, ...]
    rules: Sequence[RuleName]
    max_others_loss: float = 0.01

    @property
    def weak_predicted(self) -> Labels:
        """What the weak model answers, int64 (N,)."""
        return predicted_labels(self.weak_logits)

    def scores_with(self, members: Sequence[Candidate]) -> BranchScores:
        """What each branch of a model with these patches gives."""
        raw = torch.stack([one.raw for one in members])
        columns = tuple(self.class_names.index(one.class_name) for one in members)
        return BranchScores(self.weak_logits, raw, columns, self.labels)


@dataclass(frozen=True)
class Measured:
    """Some candidates as patches of one model, by the rule that `patchbay patch` would choose.

    Attributes:
        members: the candidates, in the order of the weak model's classes.
        rule: None if none can be had.
        macro_f1_gain: what the mean F1 of all the weak model's classes gains.
        others_loss: of the accuracy on the classes that are not patched; 0 if all are.
        obstacle: why it is not recommended; None if it is.
    """

    members: tuple[Candidate, ...]
    rule: RuleName | None
    macro_f1_gain: float
    others_loss: float
    obstacle: Obstacle | None

    @property
    def rank(self) -> tuple[float, int, tuple[str, ...]]:
        """The best first: the largest gain, of equals the fewest patches, then by address."""
        return -self.macro_f1_gain, len(self.members), tuple(one.address for one in self.members)


@dataclass(frozen=True)
class Recommendation:
    """Patches that are worth having, and everything that is known of them.

    Attributes:
        measured: which, and what they gain.
        judged: their rule, fitted on all images, with evaluations by those that did not help.
        macro_f1_interval: 95 % bootstrap interval of the gain of macro F1.
    """

    measured: Measured
    judged: JudgedRule
    macro_f1_interval: Interval

    @property
    def may_be_chance(self) -> bool:
        """Whether the interval reaches 0 or below it."""
        return self.macro_f1_interval.low <= 0


@dataclass(frozen=True)
class Ranking:
    """What came of all candidates.

    Attributes:
        best_first: single patches and combinations that gain and cost no more than is allowed.
        left_out: single patches that do not, and why, the largest gain first.
    """

    best_first: tuple[Measured, ...]
    left_out: tuple[Measured, ...]


def rank(task: Task, candidates: Iterable[Candidate], *, shortlist: int = 3) -> Ranking:
    """Measure every candidate alone, then combinations, each time adding what gains most.

    A combination begins with the best single patch and gets, of the best of each class that it
    has no patch of, the one with which it gains most, until none makes it gain more.

    Args:
        task: the weak model, its images and what is allowed.
        candidates: class modules for its classes.
        shortlist: how many of each class, the best alone, combinations are made of.
    """
    with fits_are_kept():
        alone = sorted((measure(task, [one]) for one in candidates), key=lambda one: one.rank)
        good = [one for one in alone if one.obstacle is None]
        combined = combine(task, _the_best_of_each_class(good, shortlist))
    return Ranking(
        best_first=tuple(sorted([*good, *combined], key=lambda one: one.rank)),
        left_out=tuple(one for one in alone if one.obstacle is not None),
    )


def combine(task: Task, singles: Sequence[Measured]) -> list[Measured]:
    """Add the patch that gains most until none gains.

    Args:
        task: the weak model, its images and what is allowed.
        singles: single patches, the best first.

    Returns:
        Each combination on the way, of two patches and more.
    """
    found: list[Measured] = []
    current = singles[0] if singles else None
    while current is not None:
        patched = {one.class_name for one in current.members}
        tried = [
            measure(task, [*current.members, *one.members])
            for one in singles
            if one.members[0].class_name not in patched
        ]
        better = [
            one
            for one in tried
            if one.obstacle is None and one.macro_f1_gain > current.macro_f1_gain
        ]
        current = min(better, key=lambda one: one.rank, default=None)
        if current is not None:
            found.append(current)
    return found


def measure(task: Task, members: Sequence[Candidate]) -> Measured:
    """Choose a rule for some candidates together, and measure what it gains and costs.

    Args:
        task: the weak model, its images and what is allowed.
        members: one a class.
    """
    ordered = tuple(sorted(members, key=lambda one: task.class_names.index(one.class_name)))
    given = task.scores_with(ordered)
    own = [int((task.labels == column).sum()) for column in given.columns]
    if not all(0 < count < len(task.labels) for count in own):
        return Measured(ordered, None, 0.0, 0.0, "no images")
    tried: dict[RuleName, Labels] = {}
    for name in task.rules:
        try:
            scores = judging_scores(name, [one.stored for one in ordered], given)
        except CalibrationError:
            continue
        tried[name] = predicted_labels(scores)
    if not tried:
        return Measured(ordered, None, 0.0, 0.0, "no rule")
    return _judged(task, ordered, tried)


def full_judgement(task: Task, measured: Measured) -> Recommendation:
    """Everything that `patchbay patch` would say of a recommendation.

    Args:
        task: what it was measured with.
        measured: with a rule.
    """
    assert measured.rule is not None
    members = measured.members
    judged = judge(
        measured.rule,
        [one.stored for one in members],
        task.scores_with(members),
        task.class_names,
    )
    assert judged.answers is not None
    _, interval = macro_f1_gain(task.labels, task.weak_predicted, judged.answers.patched)
    return Recommendation(measured, judged, interval)


def _judged(
    task: Task, members: tuple[Candidate, ...], tried: Mapping[RuleName, Labels]
) -> Measured:
    columns = [task.class_names.index(one.class_name) for one in members]
    weak, labels = task.weak_predicted, task.labels
    f1 = [class_metrics(labels, weak, column).f1 for column in columns]
    gains = {
        name: (
            float(
                np.mean(
                    [
                        class_metrics(labels, said, column).f1 - before
                        for column, before in zip(columns, f1, strict=True)
                    ]
                )
            ),
            float((said == labels).mean()) - float((weak == labels).mean()),
        )
        for name, said in tried.items()
    }
    # A single rule is taken as it is; of several the largest gain wins, as in `choose_rule`.
    best = most_gaining(tried, lambda name: gains[name]) if len(task.rules) > 1 else None
    name = best or max(tried, key=lambda name: gains[name])
    said = tried[name]
    gain = macro_f1(labels, said) - macro_f1(labels, weak)
    is_other = ~np.isin(labels, columns)
    lost = (
        float((weak == labels)[is_other].mean() - (said == labels)[is_other].mean())
        if is_other.any()
        else 0.0
    )
    obstacle: Obstacle | None = None
    if (best is None and len(task.rules) > 1) or gains[name][0] <= 0 or gain <= 0:
        obstacle = "no gain"
    elif is_more_than(lost, task.max_others_loss):
        obstacle = "others lose"
    return Measured(members, name, gain, lost, obstacle)


def _the_best_of_each_class(singles: Sequence[Measured], most: int) -> list[Measured]:
    counts: dict[str, int] = {}
    found = []
    for one in singles:
        name = one.members[0].class_name
        counts[name] = counts.get(name, 0) + 1
        if counts[name] <= most:
            found.append(one)
    return found
