"""Which classes are taken for which, and what each confusion costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modularizer.errors import DataError
from modularizer.metrics import Labels

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Confusion:
    """Images of one class that are answered with another, and what that costs.

    Attributes:
        true_class: what they are.
        answered_class: what is answered.
        count: how many they are, at least 1.
        share: of the true class's images.
        macro_f1_cost: how much macro F1 would rise if just these were answered right. Costs of
            several confusions don't add up exactly.
        accuracy_cost: how much accuracy would rise: ``count / images``.
    """

    true_class: str
    answered_class: str
    count: int
    share: float
    macro_f1_cost: float
    accuracy_cost: float


def confusion_counts(labels: Labels, predicted: Labels, *, classes: int) -> Counts:
    """How often each class (row) is answered with each (column): int64 (classes, classes).

    Raises:
        DataError: if there is no image, or a label or an answer is no class.
    """
    if labels.shape != predicted.shape or labels.ndim != 1:
        raise DataError(
            f"expected an answer for each label, found {predicted.shape} for {labels.shape}"
        )
    if not len(labels):
        raise DataError("there is no image to judge by")
    for what, values in (("labels", labels), ("answers", predicted)):
        if not 0 <= values.min() <= values.max() < classes:
            raise DataError(
                f"{what} must lie in 0..{classes - 1} (one per class name), found "
                f"{values.min()}..{values.max()}"
            )
    pairs = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return pairs.reshape(classes, classes).astype(np.int64)


def cost_of_confusions(matrix: Counts, class_names: Sequence[str]) -> tuple[Confusion, ...]:
    """Every confusion, the costliest in macro F1 first; equal ones by count, then in order.

    Args:
        matrix: int64 (classes, classes), as `confusion_counts` gives it, with an image at least.
        class_names: one a class.
    """
    support, answered, right = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    judged = int((support > 0).sum())

    def f1(index: int, *, more_right: int = 0, more_answered: int = 0) -> float:
        if not support[index]:
            return 0.0  # not judged, so nothing is lost or won there
        total = support[index] + answered[index] + more_answered
        return float(2 * (right[index] + more_right) / total)

    found = []
    for true, said in np.argwhere(matrix).tolist():
        if true != said:
            count = int(matrix[true, said])
            won = f1(true, more_right=count, more_answered=count) - f1(true)
            won += f1(said, more_answered=-count) - f1(said)
            found.append(
                Confusion(
                    true_class=class_names[true],
                    answered_class=class_names[said],
                    count=count,
                    share=float(count / support[true]),
                    macro_f1_cost=won / judged,
                    accuracy_cost=float(count / support.sum()),
                )
            )
    return tuple(sorted(found, key=lambda one: (-one.macro_f1_cost, -one.count)))
