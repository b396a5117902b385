"""Whether a patched model may take the place of the one that is in use."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from modularizer.answers import Answers
from modularizer.errors import DataError
from modularizer.gain import gain_interval, mcnemar_p_value
from modularizer.metrics import Labels, class_metrics, is_more_than
from modularizer.settings import GateSettings


@dataclass(frozen=True)
class PatchedClass:
    """How one patched class does.

    Attributes:
        name: of the class.
        images: of it.
        weak_f1: by the weak model below the patch.
        f1: by the patched model.
        gain_low: the lower end of the interval of the F1 gain over the weak model, see
            `gain_interval`.
        gain_high: the upper end.
        p_value: of McNemar's exact test, on both sides, of the images that are told apart from
            this class's or as this class's rightly by one of both models alone.
        current_f1: by the model in use; None if there is none to compare with.
        gains: whether it gains over the weak model by the test that was asked for.
    """

    name: str
    images: int
    weak_f1: float
    f1: float
    gain_low: float
    gain_high: float
    p_value: float
    current_f1: float | None
    gains: bool


@dataclass(frozen=True)
class Verdict:
    """What the gate says, and by which numbers.

    Attributes:
        passed: whether nothing speaks against it.
        reasons: what does.
        settings: the thresholds.
        images: how many it was judged by.
        classes: the patched ones.
        others_images: images of the other classes.
        others_accuracy: on these; None where every class is patched.
        weak_others_accuracy: of the weak model.
        current_others_accuracy: of the model in use; None if there is none to compare with.
        fixed: images that the model in use, or the weak one, gets wrong and this one right.
        broken: the other way round.
    """

    passed: bool
    reasons: tuple[str, ...]
    settings: GateSettings
    images: int
    classes: tuple[PatchedClass, ...]
    others_images: int
    others_accuracy: float | None
    weak_others_accuracy: float | None
    current_others_accuracy: float | None
    fixed: int
    broken: int

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "settings": self.settings.model_dump(mode="json")}


def judge_promotion(
    answers: Answers,
    patched_classes: tuple[str, ...],
    *,
    current: Labels | None,
    settings: GateSettings,
) -> Verdict:
    """Judge a patched model against its own weak model and against the model in use.

    It is refused if one of its classes does not gain over the weak model by the test, or if more
    than ``max_loss`` is lost: of the accuracy on the other classes or of a patched class's F1,
    against the model in use; without one, against the weak model.

    Args:
        answers: of the weak and the patched model on labelled images.
        patched_classes: their names.
        current: what the model in use answers on the same images, int64 (N,); None if there is
            none.
        settings: the thresholds.

    Raises:
        DataError: if a patched class has no image, or there is no other image.
    """
    if current is not None and len(current) != len(answers.labels):
        raise DataError(f"expected {len(answers.labels)} answers of the model in use")
    columns = [answers.class_names.index(name) for name in patched_classes]
    classes = tuple(_judged(answers, column, current, settings) for column in columns)
    is_other = ~np.isin(answers.labels, columns)
    there = int(is_other.sum())
    before = answers.weak if current is None else current
    accuracy, weak_accuracy, before_accuracy = (
        float((said == answers.labels)[is_other].mean()) if there else None
        for said in (answers.patched, answers.weak, before)
    )
    reasons = [reason for one in classes for reason in _complaints(one, settings)]
    if accuracy is not None and before_accuracy is not None:
        lost = before_accuracy - accuracy
        if is_more_than(lost, settings.max_loss):
            reasons.append(
                f"the other classes lose {lost:.3f} of their accuracy against "
                f"{'the weak model' if current is None else 'the model in use'} "
                f"({before_accuracy:.3f} > {accuracy:.3f}); {settings.max_loss:g} may be lost"
            )
    was_right, is_right = before == answers.labels, answers.patched == answers.labels
    return Verdict(
        passed=not reasons,
        reasons=tuple(reasons),
        settings=settings,
        images=len(answers.labels),
        classes=classes,
        others_images=there,
        others_accuracy=accuracy,
        weak_others_accuracy=weak_accuracy,
        current_others_accuracy=None if current is None else before_accuracy,
        fixed=int((~was_right & is_right).sum()),
        broken=int((was_right & ~is_right).sum()),
    )


def _judged(
    answers: Answers, column: int, current: Labels | None, settings: GateSettings
) -> PatchedClass:
    labels, is_target = answers.labels, answers.labels == column
    weak, patched = (
        class_metrics(labels, said, column) for said in (answers.weak, answers.patched)
    )
    weak_right, patched_right = (
        (said == column) == is_target for said in (answers.weak, answers.patched)
    )
    low, high = gain_interval(is_target, weak_right, patched_right, alpha=settings.alpha)
    p_value = mcnemar_p_value(weak_right, patched_right)
    is_shown = low > 0 if settings.gain_test == "bootstrap" else p_value <= settings.alpha
    return PatchedClass(
        name=answers.class_names[column],
        images=int(is_target.sum()),
        weak_f1=weak.f1,
        f1=patched.f1,
        gain_low=low,
        gain_high=high,
        p_value=p_value,
        current_f1=None if current is None else class_metrics(labels, current, column).f1,
        gains=bool(patched.f1 > weak.f1 and is_shown),
    )


def _complaints(one: PatchedClass, settings: GateSettings) -> list[str]:
    found = []
    if not one.gains:
        why = (
            f"the interval of the gain, {one.gain_low:+.3f} to {one.gain_high:+.3f}, reaches 0"
            if settings.gain_test == "bootstrap" and one.f1 > one.weak_f1
            else f"p = {one.p_value:.3g}, at most {settings.alpha:g} is asked for"
            if one.f1 > one.weak_f1
            else "that is no gain"
        )
        found.append(
            f"class {one.name} is not shown to gain over the weak model (F1 {one.weak_f1:.3f} > "
            f"{one.f1:.3f}, {one.images} images): {why}"
        )
    if one.current_f1 is not None and is_more_than(one.current_f1 - one.f1, settings.max_loss):
        found.append(
            f"class {one.name} loses {one.current_f1 - one.f1:.3f} of its F1 against the model in "
            f"use ({one.current_f1:.3f} > {one.f1:.3f}); {settings.max_loss:g} may be lost"
        )
    return found
