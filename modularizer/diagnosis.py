"""Where a classifier is weak: each class by itself, what is confused, and what to patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modularizer.confusions import Confusion, Counts, confusion_counts, cost_of_confusions
from modularizer.metrics import Interval, Labels

MARGIN = 0.05
"""How far below the others a class must be to be worth a patch: five points of F1."""

Draws = NDArray[np.float64]


@dataclass(frozen=True)
class ClassDiagnosis:
    """How good a classifier is at one class. Ratios are in [0, 1]; intervals are 95 %.

    Ratios and intervals are None where the class has no image: such a class is not judged.

    Attributes:
        class_name: the class.
        support: images that are of it.
        answered: images that are answered with it.
        right: images of it that are answered with it.
        precision: ``right / answered``; 0 if it is never answered.
        recall: ``right / support``.
        f1: the harmonic mean of both; 0 if both are.
        precision_interval: of the precision.
        recall_interval: of the recall.
        f1_interval: of the F1.
        others_f1: the mean F1 of the other classes that are judged; None if there is no other.
        gap_interval: of ``others_f1 - f1``, both on the same resampled images; None likewise.
        worth_patching: whether all of ``gap_interval`` lies above the diagnosis's margin.
    """

    class_name: str
    support: int
    answered: int
    right: int
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    precision_interval: Interval | None = None
    recall_interval: Interval | None = None
    f1_interval: Interval | None = None
    others_f1: float | None = None
    gap_interval: Interval | None = None
    worth_patching: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """A classifier on the images of one set, class by class.

    Attributes:
        images: how many there are.
        margin: how far below the others a class must be to be worth a patch, in F1.
        accuracy: the share of images that are answered right.
        accuracy_interval: of it, 95 %.
        macro_f1: the mean F1 of the classes that have images.
        macro_f1_interval: of it, 95 %.
        classes: one a class, in the order of the model's outputs.
        confusions: all there are, the costliest in macro F1 first.
    """

    images: int
    margin: float
    accuracy: float
    accuracy_interval: Interval
    macro_f1: float
    macro_f1_interval: Interval
    classes: tuple[ClassDiagnosis, ...]
    confusions: tuple[Confusion, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Every class, in the order of the model's outputs."""
        return tuple(one.class_name for one in self.classes)

    @property
    def worth_patching(self) -> tuple[str, ...]:
        """The classes that are worth a patch, the lowest F1 first."""
        return tuple(one.class_name for one in self.weakest_first() if one.worth_patching)

    def weakest_first(self) -> list[ClassDiagnosis]:
        """The classes by F1, those without images last; equal ones in their order."""
        return sorted(self.classes, key=lambda one: (one.f1 is None, one.f1 or 0.0))

    def confusion_matrix(self) -> Counts:
        """How often each class (row) is answered with each (column): int64 (classes, classes)."""
        place = {name: index for index, name in enumerate(self.class_names)}
        matrix = np.diag([one.right for one in self.classes]).astype(np.int64)
        for one in self.confusions:
            matrix[place[one.true_class], place[one.answered_class]] = one.count
        return matrix

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON values; an interval is a list of its two ends."""
        return {**_plain(self), "worth_patching": list(self.worth_patching)}


def diagnose(
    labels: Labels,
    predicted: Labels,
    *,
    class_names: Sequence[str],
    margin: float = MARGIN,
    draws: int = 2000,
    seed: int = 0,
) -> Diagnosis:
    """Find the classes that a classifier is weak at, and the confusions behind that.

    A class is worth a patch if, with 95 % confidence, its F1 is more than ``margin`` below the
    mean F1 of the other classes. The confidence comes of a bootstrap over images; the margin
    keeps differences out that many images prove but nobody feels, and false alarms rare where
    there are many classes: a class that is no worse than the others has to look worse by the
    margin and its own uncertainty. Where all classes are equally bad none stands out, and none
    is marked.

    Images are drawn anew within each class, for all classes at once. As each class is drawn from,
    half an image of it more is right and half an image more is wrong, so that a class with three
    images, all wrong, is not said to be hopeless with certainty; a hundred images hardly notice.

    Args:
        labels: int64 (N,), N at least 1.
        predicted: int64 (N,), what is answered.
        class_names: names of the labels, distinct.
        margin: in F1, [0, 1).
        draws: bootstrap samples.
        seed: of the resampling.

    Raises:
        DataError: if there is no image, or labels and answers don't fit each other or the names.

    Example:
        >>> labels = np.arange(300) % 3
        >>> predicted = np.where((labels == 2) & (np.arange(300) % 2 == 0), 0, labels)
        >>> found = diagnose(labels, predicted, class_names=("cat", "dog", "eel"))
        >>> found.worth_patching, round(found.macro_f1, 3)
        (('eel',), 0.822)
        >>> costliest = found.confusions[0]
        >>> costliest.true_class, costliest.answered_class, round(costliest.macro_f1_cost, 3)
        ('eel', 'cat', 0.178)
    """
    matrix = confusion_counts(labels, predicted, classes=len(class_names))
    judged = np.flatnonzero(matrix.sum(axis=1))
    support = matrix.sum(axis=1)[judged]
    hits, said = _resampled(matrix, draws, np.random.default_rng(seed))
    spread = _ratios(hits[:, judged], said[:, judged], support)
    point = _ratios(matrix.diagonal()[None, judged], matrix.sum(axis=0)[None, judged], support)
    verdicts = dict(zip(judged.tolist(), _verdicts(point, spread, margin), strict=True))
    return Diagnosis(
        images=len(labels),
        margin=margin,
        accuracy=float(matrix.trace() / len(labels)),
        accuracy_interval=_interval(hits.sum(axis=1) / len(labels)),
        macro_f1=float(point.f1.mean()),
        macro_f1_interval=_interval(spread.f1.mean(axis=1)),
        classes=tuple(
            ClassDiagnosis(
                name,
                support=int(matrix[index].sum()),
                answered=int(matrix[:, index].sum()),
                right=int(matrix[index, index]),
                **verdicts.get(index, {}),
            )
            for index, name in enumerate(class_names)
        ),
        confusions=cost_of_confusions(matrix, class_names),
    )


@dataclass(frozen=True)
class _Ratios:
    """Precision, recall and F1 of several classes in several samples: (samples, classes) each."""

    precision: Draws
    recall: Draws
    f1: Draws


def _ratios(right: NDArray[Any], answered: NDArray[Any], support: Counts) -> _Ratios:
    """Of classes that have images; ``right`` and ``answered`` are (samples, classes)."""
    return _Ratios(
        precision=right / np.maximum(answered, 1),
        recall=right / support,
        f1=2 * right / (support + answered),
    )


def _verdicts(point: _Ratios, spread: _Ratios, margin: float) -> list[dict[str, Any]]:
    """What is known of each class that has images, as arguments of `ClassDiagnosis`.

    Args:
        point: of the images as they are, one sample.
        spread: of resampled ones.
        margin: see `diagnose`.
    """
    gap, gap_spread = _gap(point.f1), _gap(spread.f1)
    found: list[dict[str, Any]] = []
    for place in range(gap.shape[1]):
        known: dict[str, Any] = {}
        for name in ("precision", "recall", "f1"):
            known[name] = float(getattr(point, name)[0, place])
            known[f"{name}_interval"] = _interval(getattr(spread, name)[:, place])
        if gap.shape[1] > 1:
            interval = _interval(gap_spread[:, place])
            known["others_f1"] = float(point.f1[0, place] + gap[0, place])
            known["gap_interval"] = interval
            known["worth_patching"] = interval.low > margin
        found.append(known)
    return found


def _gap(f1: Draws) -> Draws:
    """By how much the mean of the others is above each class: (samples, classes)."""
    others = (f1.sum(axis=1, keepdims=True) - f1) / max(f1.shape[1] - 1, 1)
    gap: Draws = others - f1
    return gap


def _resampled(matrix: Counts, draws: int, generator: np.random.Generator) -> tuple[Counts, Counts]:
    """Right answers and answers of each class if images are drawn anew within each class.

    Images of one class and one answer are all the same, so it is enough to draw how many there
    are. The half image that is wrong goes to the classes that are answered wrongly, as their
    counts are; where there are none it is an answer with none of the classes.

    Returns:
        Both int64 (draws, classes).
    """
    right = np.zeros((draws, len(matrix)), dtype=np.int64)
    answered = np.zeros_like(right)
    for index in np.flatnonzero(matrix.sum(axis=1)):
        row, images = matrix[index], int(matrix[index].sum())
        wrong = np.flatnonzero((row > 0) & (np.arange(len(row)) != index))
        mistakes = images - row[index]
        shares = [(row[index] + 0.5) / (images + 1)]
        shares += [row[other] / mistakes * (mistakes + 0.5) / (images + 1) for other in wrong]
        drawn = generator.multinomial(images, [*shares, max(0.0, 1 - sum(shares))], size=draws)
        right[:, index] = drawn[:, 0]
        answered[:, index] += drawn[:, 0]
        answered[:, wrong] += drawn[:, 1:-1]
    return right, answered


def _interval(draws: Draws) -> Interval:
    low, high = np.percentile(draws, (2.5, 97.5))
    return Interval(float(low), float(high))


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return [value.low, value.high]
    if isinstance(value, ClassDiagnosis | Confusion | Diagnosis):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
