"""Whether a strong model had better take the place of a weak one than patch it (section 6.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modularizer.macro_f1 import macro_f1
from modularizer.metrics import Labels, PatchEvaluation, evaluate_patch


@dataclass(frozen=True)
class StrongInstead:
    """A strong model in a weak one's place, on the same images.

    Attributes:
        evaluations: one a class that has images; ``patched`` is the strong model.
        macro_f1: the mean F1 of these classes.
        weak_macro_f1: the same of the weak model.
        accuracy: on all images.
    """

    evaluations: tuple[PatchEvaluation, ...]
    macro_f1: float
    weak_macro_f1: float
    accuracy: float

    @property
    def is_better_on_each(self) -> bool:
        """Whether F1 is higher on each class; where the weak model's is 1, as high will do."""
        pairs = [(one.weak.f1, one.patched.f1) for one in self.evaluations]
        better = [strong > weak for weak, strong in pairs]
        return any(better) and all(
            is_better or weak == strong == 1.0
            for is_better, (weak, strong) in zip(better, pairs, strict=True)
        )


def judge_strong(
    labels: Labels,
    weak_predicted: Labels,
    strong_scores: NDArray[np.float32],
    places: Sequence[int],
    class_names: tuple[str, ...],
) -> StrongInstead:
    """Compare a strong model with a weak one, answers restricted to the weak model's classes.

    Args:
        labels: int64 (N,), the weak model's.
        weak_predicted: what that answers, int64 (N,).
        strong_scores: (N, classes of the strong model).
        places: where the strong model has each of the weak model's classes.
        class_names: the weak model's.

    Raises:
        DataError: if all images are of one class.
    """
    answers: Labels = strong_scores[:, list(places)].argmax(axis=1)
    return StrongInstead(
        evaluations=tuple(
            evaluate_patch(
                labels, weak_predicted, answers, class_names=class_names, target=class_names[label]
            )
            for label in np.unique(labels)
        ),
        macro_f1=macro_f1(labels, answers),
        weak_macro_f1=macro_f1(labels, weak_predicted),
        accuracy=float((answers == labels).mean()),
    )
