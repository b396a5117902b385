"""How good a classifier is at one class, and what a patch changes, with the spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modularizer.errors import DataError

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class ClassMetrics:
    """One classifier on the images of one set, seen from one class.

    Attributes:
        precision: of the images answered with the class, the share that is of it; 0 if none is.
        recall: of the class's images, the share answered with it.
        f1: the harmonic mean of both; 0 if both are.
        others_accuracy: of the other classes' images, the share answered right.
        accuracy: of all images, the share answered right.
    """

    precision: float
    recall: float
    f1: float
    others_accuracy: float
    accuracy: float


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class PatchEvaluation:
    """A weak classifier beside the patched one on the same images.

    Attributes:
        target: the patched class.
        images: how many images.
        target_images: how many of them are of the class.
        weak: the weak model's metrics.
        patched: the patched model's.
        weak_spread: for each metric the bootstrap interval of the weak model.
        patched_spread: the same of the patched model.
        gain_spread: the same of patched minus weak, on the same resampled images.
        fixes: images that were wrong and are right.
        regressions: images that were right and are wrong.
    """

    target: str
    images: int
    target_images: int
    weak: ClassMetrics
    patched: ClassMetrics
    weak_spread: dict[str, Interval]
    patched_spread: dict[str, Interval]
    gain_spread: dict[str, Interval]
    fixes: int
    regressions: int


_INDICES_AT_ONCE = 1_000_000  # some 50 MB, however many images there are

METRICS = ("precision", "recall", "f1", "others_accuracy", "accuracy")


def class_metrics(labels: Labels, predicted: Labels, target: int) -> ClassMetrics:
    """Precision, recall and F1 of one class, and the accuracy on the others.

    Args:
        labels: int64 (N,).
        predicted: int64 (N,).
        target: the class, as a label.

    Raises:
        DataError: if there is no image of the class, or none of another.
    """
    rows = _metrics(labels[None], predicted[None], target)
    if np.isnan(rows).any():
        raise DataError(
            f"need images of class {target} and of others to judge by; found "
            f"{int((labels == target).sum())} and {int((labels != target).sum())}"
        )
    return ClassMetrics(*(float(v) for v in rows[0]))


def evaluate_patch(
    labels: Labels,
    weak_predicted: Labels,
    patched_predicted: Labels,
    *,
    class_names: tuple[str, ...],
    target: str,
    draws: int = 2000,
    seed: int = 0,
) -> PatchEvaluation:
    """Compare weak and patched answers, with 95 % bootstrap intervals over images.

    Images are resampled within the target class and within the others, so that no draw is
    without either.

    Args:
        labels: int64 (N,).
        weak_predicted: int64 (N,).
        patched_predicted: int64 (N,).
        class_names: names of the labels.
        target: the patched class.
        draws: bootstrap samples.
        seed: of the resampling.

    Raises:
        DataError: if the class is unknown, it has no image, or no other has one.
    """
    if target not in class_names:
        raise DataError(f"no class {target!r} here; the classes are {', '.join(class_names)}")
    label = class_names.index(target)
    weak = class_metrics(labels, weak_predicted, label)
    patched = class_metrics(labels, patched_predicted, label)
    weak_draws, patched_draws = resampled_metrics(
        labels, (weak_predicted, patched_predicted), label, draws=draws, seed=seed
    )
    was_right, is_right = weak_predicted == labels, patched_predicted == labels
    return PatchEvaluation(
        target=target,
        images=len(labels),
        target_images=int((labels == label).sum()),
        weak=weak,
        patched=patched,
        weak_spread=_intervals(weak_draws),
        patched_spread=_intervals(patched_draws),
        gain_spread=_intervals(patched_draws - weak_draws),
        fixes=int((~was_right & is_right).sum()),
        regressions=int((was_right & ~is_right).sum()),
    )


def _metrics(labels: Labels, predicted: Labels, target: int) -> NDArray[np.float64]:
    """The `METRICS` of each row of (rows, N) labels and answers: float64 (rows, 5)."""
    is_target, says_target = labels == target, predicted == target
    right = labels == predicted
    hits = (is_target & says_target).sum(axis=1)
    said, there = says_target.sum(axis=1), is_target.sum(axis=1)
    others = labels.shape[1] - there
    with np.errstate(invalid="ignore"):  # 0 / 0: no such image; the caller refuses NaN
        precision = hits / np.maximum(said, 1)
        recall = hits / there
        f1 = 2 * hits / (said + there)
        others_accuracy = (right & ~is_target).sum(axis=1) / others
    return np.stack([precision, recall, f1, others_accuracy, right.mean(axis=1)], axis=1)


def resampled_metrics(
    labels: Labels, predicted: Sequence[Labels], target: int, *, draws: int, seed: int
) -> tuple[NDArray[np.float64], ...]:
    """The `METRICS` of several models on the same images, drawn anew within target and others.

    Args:
        labels: int64 (N,).
        predicted: of each model int64 (N,).
        target: the class, as a label; it and the others have images.
        draws: bootstrap samples.
        seed: of the resampling.

    Returns:
        Of each model float64 (draws, metrics).
    """
    generator = np.random.default_rng(seed)
    parts = []
    at_once = max(1, _INDICES_AT_ONCE // len(labels))
    for start in range(0, draws, at_once):
        draw = _resampled(labels == target, min(at_once, draws - start), generator)
        parts.append([_metrics(labels[draw], said[draw], target) for said in predicted])
    return tuple(np.concatenate(side) for side in zip(*parts, strict=True))


def _resampled(
    is_target: NDArray[np.bool_], draws: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Indices of images drawn with replacement within both strata: int64 (draws, N)."""
    strata = (np.flatnonzero(is_target), np.flatnonzero(~is_target))
    return np.concatenate(
        [
            stratum[generator.integers(len(stratum), size=(draws, len(stratum)))]
            for stratum in strata
        ],
        axis=1,
    )


def _intervals(draws: NDArray[np.float64]) -> dict[str, Interval]:
    low, high = np.percentile(draws, (2.5, 97.5), axis=0)
    return {
        name: Interval(float(a), float(b)) for name, a, b in zip(METRICS, low, high, strict=True)
    }
