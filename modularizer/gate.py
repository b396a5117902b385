"""Whether a patched model may take the place of the one that is in use."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from modularizer.answers import Answers
from modularizer.errors import DataError
from modularizer.gain import gain_interval, is_better, mcnemar_p_value
from modularizer.metrics import Labels, class_metrics, is_more_than
from modularizer.settings import GateSettings


@dataclass(frozen=True)
class InUse:
    """The model whose place a patched one is to take.

    Attributes:
        answers: on the same images, int64 (N,), in the patched one's class indices.
        patched_classes: names of the classes that it patches.
    """

    answers: Labels = field(compare=False)
    patched_classes: tuple[str, ...]


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
        told_better: whether more of these images are told rightly by this model alone than by the
            weak one alone.
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
    told_better: bool
    gains: bool


@dataclass(frozen=True)
class LostPatch:
    """How a class does that the model in use patches and this one doesn't.

    Attributes:
        name: of the class.
        images: of it.
        weak_f1: by the weak model below the patch.
        f1: by the patched model.
        current_f1: by the model in use.
    """

    name: str
    images: int
    weak_f1: float
    f1: float
    current_f1: float


@dataclass(frozen=True)
class Verdict:
    """What the gate says, and by which numbers.

    Attributes:
        passed: whether nothing speaks against it.
        reasons: what does.
        settings: the thresholds.
        images: how many it was judged by.
        classes: the patched ones.
        lost_patches: those that the model in use alone patches.
        others_images: images of the other classes, which neither model patches.
        others_accuracy: on these; None where there are none.
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
    lost_patches: tuple[LostPatch, ...]
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
    current: InUse | None,
    settings: GateSettings,
) -> Verdict:
    """Judge a patched model against its own weak model and against the model in use.

    It is refused if one of its classes does not gain over the weak model by the test, or if more
    than ``max_loss`` is lost against the model in use: of the F1 of a class that either of the
    two patches, or of the accuracy on the other classes. Without one, the accuracy on the classes
    that are not patched is compared with the weak model's; with one, too, if it is less than that
    model's, so that small losses don't add up.

    Args:
        answers: of the weak and the patched model on labelled images.
        patched_classes: their names.
        current: the model in use; None if there is none.
        settings: the thresholds.

    Raises:
        DataError: if a class is unknown that one of the models patches, or has no image, or if
            there is no image of another.
    """
    if current is not None and len(current.answers) != len(answers.labels):
        raise DataError(f"expected {len(answers.labels)} answers of the model in use")
    labels, before = answers.labels, answers.weak if current is None else current.answers
    patched = _columns(answers, patched_classes)
    in_use = [] if current is None else _columns(answers, current.patched_classes)
    lost = [column for column in in_use if column not in patched]
    classes = tuple(_judged(answers, column, current, settings) for column in patched)
    lost_patches = tuple(_lost_patch(answers, column, before) for column in lost)
    is_other = ~np.isin(labels, patched + lost)
    accuracy, weak_accuracy, before_accuracy = (
        float((said == labels)[is_other].mean()) if is_other.any() else None
        for said in (answers.patched, answers.weak, before)
    )
    against = "the weak model" if current is None else "the model in use"
    reasons = (
        *(reason for one in classes for reason in _complaints(one, settings)),
        *(reason for one in lost_patches for reason in _f1_loss(one, settings)),
        *_others_loss(before_accuracy, accuracy, against, settings),
        *_adding_up(weak_accuracy, before_accuracy, accuracy, settings),
    )
    was_right, is_right = before == labels, answers.patched == labels
    return Verdict(
        passed=not reasons,
        reasons=reasons,
        settings=settings,
        images=len(labels),
        classes=classes,
        lost_patches=lost_patches,
        others_images=int(is_other.sum()),
        others_accuracy=accuracy,
        weak_others_accuracy=weak_accuracy,
        current_others_accuracy=None if current is None else before_accuracy,
        fixed=int((~was_right & is_right).sum()),
        broken=int((was_right & ~is_right).sum()),
    )


def _columns(answers: Answers, names: tuple[str, ...]) -> list[int]:
    for name in names:
        if name not in answers.class_names:
            known = ", ".join(answers.class_names)
            raise DataError(f"no class {name!r} here; the classes are {known}")
    return [answers.class_names.index(name) for name in names]


def _judged(
    answers: Answers, column: int, current: InUse | None, settings: GateSettings
) -> PatchedClass:
    labels, is_target = answers.labels, answers.labels == column
    weak_right, patched_right = (
        (said == column) == is_target for said in (answers.weak, answers.patched)
    )
    weak_f1, f1 = (_f1(labels, said, column) for said in (answers.weak, answers.patched))
    low, high = gain_interval(is_target, weak_right, patched_right, alpha=settings.alpha)
    p_value = mcnemar_p_value(weak_right, patched_right)
    told_better = is_better(weak_right, patched_right)
    is_shown = (
        low > 0 if settings.gain_test == "bootstrap" else told_better and p_value <= settings.alpha
    )
    return PatchedClass(
        name=answers.class_names[column],
        images=int(is_target.sum()),
        weak_f1=weak_f1,
        f1=f1,
        gain_low=low,
        gain_high=high,
        p_value=p_value,
        current_f1=None if current is None else _f1(labels, current.answers, column),
        told_better=told_better,
        gains=f1 > weak_f1 and is_shown,
    )


def _lost_patch(answers: Answers, column: int, before: Labels) -> LostPatch:
    return LostPatch(
        name=answers.class_names[column],
        images=int((answers.labels == column).sum()),
        weak_f1=_f1(answers.labels, answers.weak, column),
        f1=_f1(answers.labels, answers.patched, column),
        current_f1=_f1(answers.labels, before, column),
    )


def _f1(labels: Labels, said: Labels, column: int) -> float:
    return class_metrics(labels, said, column).f1


def _complaints(one: PatchedClass, settings: GateSettings) -> list[str]:
    if one.gains:
        return _f1_loss(one, settings)
    why = (
        f"the interval of the gain, {one.gain_low:+.3f} to {one.gain_high:+.3f}, reaches 0"
        if settings.gain_test == "bootstrap" and one.f1 > one.weak_f1
        else "no more images are told apart rightly than by the weak model"
        if one.f1 > one.weak_f1 and not one.told_better
        else f"p = {one.p_value:.3g}, at most {settings.alpha:g} is asked for"
        if one.f1 > one.weak_f1
        else "that is no gain"
    )
    return [
        f"class {one.name} is not shown to gain over the weak model (F1 {one.weak_f1:.3f} > "
        f"{one.f1:.3f}, {one.images} images): {why}",
        *_f1_loss(one, settings),
    ]


def _f1_loss(one: PatchedClass | LostPatch, settings: GateSettings) -> list[str]:
    if one.current_f1 is None or not is_more_than(one.current_f1 - one.f1, settings.max_loss):
        return []
    which = ", patched by the one in use alone," if isinstance(one, LostPatch) else ""
    return [
        f"class {one.name}{which} loses {one.current_f1 - one.f1:.3f} of its F1 against the model "
        f"in use ({one.current_f1:.3f} > {one.f1:.3f}); {settings.max_loss:g} may be lost"
    ]


def _others_loss(
    before: float | None, now: float | None, against: str, settings: GateSettings
) -> list[str]:
    if before is None or now is None or not is_more_than(before - now, settings.max_loss):
        return []
    return [
        f"the other classes lose {before - now:.3f} of their accuracy against {against} "
        f"({before:.3f} > {now:.3f}); {settings.max_loss:g} may be lost"
    ]


def _adding_up(
    weak: float | None, before: float | None, now: float | None, settings: GateSettings
) -> list[str]:
    """What is lost against the weak model, where the model in use has not lost as much already."""
    if weak is None or before is None or now is None or before in (weak, now) or now > before:
        return []
    return _others_loss(weak, now, "the weak model below it", settings)
