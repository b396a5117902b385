"""How good a classifier is at one class, and what a patch changes, with the spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

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


_ROUNDING = 1e-9

METRICS = ("precision", "recall", "f1", "others_accuracy", "accuracy")


def stored_evaluations(evidence: Mapping[str, Any]) -> list[PatchEvaluation]:
    """What a patched model's evidence says of validation images; none if it can't be read.

    Args:
        evidence: as `modularizer.patching.choice_evidence` gives it, or read back from JSON.
    """
    try:
        return TypeAdapter(list[PatchEvaluation]).validate_python(evidence.get("validation", []))
    except ValidationError:
        return []


def is_more_than(lost: float, allowed: float) -> bool:
    """Whether more is lost than is allowed: .01 of 200 images are two, whatever binary makes of it.

    Example:
        >>> is_more_than(1.0 - 0.99, 0.01)
        False
    """
    return lost > allowed + _ROUNDING


def class_metrics(labels: Labels, predicted: Labels, target: int) -> ClassMetrics:
    """Precision, recall and F1 of one class, and the accuracy on the others.

    Args:
        labels: int64 (N,).
        predicted: int64 (N,).
        target: the class, as a label.

    Raises:
        DataError: if there is no image of the class, or none of another.
    """
    rows = counted_metrics(np.ones((1, len(labels))), labels, predicted, target)
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


def counted_metrics(
    counts: NDArray[np.floating], labels: Labels, predicted: Labels, target: int
) -> NDArray[np.float64]:
    """The `METRICS` of samples of the same images.

    Args:
        counts: (samples, N): how often each image is in a sample, see `image_counts`.
        labels: int64 (N,).
        predicted: int64 (N,).
        target: the class, as a label.

    Returns:
        (samples, metrics); NaN where a sample has no image that a metric needs.
    """
    return _metrics(counts, labels == target, predicted == target, labels == predicted)


def image_counts(labels: Labels, target: int, *, draws: int, seed: int) -> NDArray[np.float32]:
    """How often each image comes up if images are drawn anew within a class and within others.

    For several models on the same images, which have to be judged by the same samples.

    Args:
        labels: int64 (N,).
        target: the class, as a label; it and the others have images.
        draws: samples.
        seed: of the draws.

    Returns:
        (draws, N).
    """
    ones = np.ones(len(labels), dtype=np.int64)
    counts = _resampled(ones, labels == target, draws, np.random.default_rng(seed))
    return counts.astype(np.float32)


def _metrics(
    counts: NDArray[np.floating],
    is_target: NDArray[np.bool_],
    says_target: NDArray[np.bool_],
    right: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """The `METRICS` of rows of images, counted by what they have in common.

    Args:
        counts: (rows, cells): how many images of each cell a row has.
        is_target: (cells,), whether its images are of the class; the next two alike.
        says_target: whether they are answered with it.
        right: whether they are answered as they are labelled.

    Returns:
        (rows, metrics); NaN where a row has no image that a metric needs.
    """
    everything = np.ones_like(is_target)
    kinds = (is_target & says_target, says_target, is_target, right & ~is_target, right, everything)
    found = counts @ np.stack(kinds, axis=1).astype(counts.dtype)  # whole numbers, so exact
    hits, said, there, right_others, rights, total = found.T.astype(np.float64)
    with np.errstate(invalid="ignore"):  # 0 / 0: no such image; the caller refuses NaN
        precision = hits / np.maximum(said, 1)
        recall = hits / there
        f1 = 2 * hits / (said + there)
        others_accuracy = right_others / (total - there)
        accuracy = rights / total
    return np.stack([precision, recall, f1, others_accuracy, accuracy], axis=1)


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
    is_target = labels == target
    answers = [(said == target, said == labels) for said in predicted]
    kinds = np.stack([is_target, *(side for pair in answers for side in pair)])
    cells, sizes = np.unique(kinds, axis=1, return_counts=True)
    counts = _resampled(sizes, cells[0], draws, np.random.default_rng(seed))
    return tuple(
        _metrics(counts, cells[0], says_target, right)
        for says_target, right in zip(cells[1::2], cells[2::2], strict=True)
    )


def _resampled(
    sizes: NDArray[np.int64],
    is_target: NDArray[np.bool_],
    draws: int,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """How often cells come up if images are drawn with replacement within both strata.

    Images of a cell are all the same to every metric, so it is enough to draw how many there
    are: a multinomial in place of an index for each image.

    Args:
        sizes: (cells,): images of each.
        is_target: (cells,): the stratum of each.
        draws: how often.
        generator: of the draws.

    Returns:
        (draws, cells).
    """
    counts = np.empty((draws, len(sizes)))
    for stratum in (np.flatnonzero(is_target), np.flatnonzero(~is_target)):
        images = int(sizes[stratum].sum())
        counts[:, stratum] = generator.multinomial(images, sizes[stratum] / images, size=draws)
    return counts


def _intervals(draws: NDArray[np.float64]) -> dict[str, Interval]:
    low, high = np.percentile(draws, (2.5, 97.5), axis=0)
    return {
        name: Interval(float(a), float(b)) for name, a, b in zip(METRICS, low, high, strict=True)
    }
