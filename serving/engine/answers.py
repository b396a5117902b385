"""What a model says of some images, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Answers:
    """Both answers for each of N images, and what the patches had to say.

    Attributes:
        class_names: of the scores' columns.
        patches: the classes whose patches were asked, in patch order.
        scores: float32 (N, classes), the patched model's; the weak model's if no patch was asked.
        weak_scores: float32 (N, classes), the weak model's probabilities.
        raw: float32 (N, patches), what each class module gave, uncalibrated.
        without: int64 (N, patches), the class index that the answer would have been without that
            one patch; None unless it was asked for.
    """

    class_names: tuple[str, ...]
    patches: tuple[str, ...]
    scores: Scores
    weak_scores: Scores
    raw: Scores
    without: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class index of the highest score of each image, (N,)."""
        labels: NDArray[np.int64] = self.scores.argmax(axis=1)
        return labels

    @property
    def weak_labels(self) -> NDArray[np.int64]:
        """The same of the weak model alone, (N,)."""
        labels: NDArray[np.int64] = self.weak_scores.argmax(axis=1)
        return labels

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Which images have scores that are all numbers, (N,)."""
        both = np.concatenate([self.scores, self.weak_scores], axis=1)
        found: NDArray[np.bool_] = np.isfinite(both).all(axis=1)
        return found

    def rows(self, start: int, stop: int) -> Answers:
        """The answers for images ``start`` up to ``stop``."""
        return Answers(
            self.class_names,
            self.patches,
            self.scores[start:stop],
            self.weak_scores[start:stop],
            self.raw[start:stop],
            None if self.without is None else self.without[start:stop],
        )

    def changed_by(self, row: int) -> tuple[str, ...]:
        """The classes whose patches moved the answer for one image; empty if it did not move.

        See `modularizer.assembly.patched.PatchedClassifier.changed_by`.
        """
        label, weak_label = int(self.scores[row].argmax()), int(self.weak_scores[row].argmax())
        if label == weak_label:
            return ()
        moved = {self.class_names[label], self.class_names[weak_label]}
        return tuple(name for name in self.patches if name in moved)


def joined(parts: Sequence[Answers]) -> Answers:
    """Answers to one request, one after the other; at least one part, all asked alike."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    without = [part.without for part in parts if part.without is not None]
    return Answers(
        first.class_names,
        first.patches,
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.weak_scores for part in parts]),
        np.concatenate([part.raw for part in parts]),
        np.concatenate(without) if without else None,
    )
