"""Which calibration and fusion a patch gets: chosen on validation images, and judged honestly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from modularizer.answers import Answers
from modularizer.assembly.calibrations.raw import NoCalibration
from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.fitting import BranchScores, Rule, cross_fitted_scores, predicted_labels
from modularizer.assembly.patched import Patch, PatchedClassifier
from modularizer.classifier import Classifier, inference
from modularizer.datasets.images import ImageSet
from modularizer.errors import CalibrationError, PatchError
from modularizer.metrics import PatchEvaluation, evaluate_patch
from modularizer.preprocessing import as_tensor
from modularizer.rules import REPLACEMENTS, RuleName, StoredCalibrations, fit_of

T = TypeVar("T")

ANSWERS = "answers"
"""Where a patched model's evidence holds what was answered on validation images."""


@dataclass(frozen=True)
class JudgedRule:
    """A rule and how it does on validation images.

    Attributes:
        name: which.
        rule: fitted on all of them, if it is fitted on them.
        evaluations: one a patched class; of a rule that is fitted on the weak model's images by
            cross-fitting, so that no image helped to fit what it is judged by.
        answers: what these are counted from; None where no image judged it.
    """

    name: RuleName
    rule: Rule
    evaluations: tuple[PatchEvaluation, ...]
    answers: Answers | None = None

    @property
    def f1_gain(self) -> float:
        """Mean over the patched classes."""
        return float(np.mean([one.patched.f1 - one.weak.f1 for one in self.evaluations]))

    @property
    def others_gain(self) -> float:
        """What the accuracy on other classes gains, the mean over the patched classes."""
        return float(
            np.mean(
                [one.patched.others_accuracy - one.weak.others_accuracy for one in self.evaluations]
            )
        )

    @property
    def accuracy_gain(self) -> float:
        """What the accuracy on all images gains."""
        return self.evaluations[0].patched.accuracy - self.evaluations[0].weak.accuracy


class NoGainError(PatchError):
    """No rule makes the weak model better at the patched classes and no worse as a whole.

    Attributes:
        judged: every rule, with what validation images say of it.
        failed: those that could not be fitted, with the reason.
    """

    def __init__(self, judged: Sequence[JudgedRule], failed: Mapping[str, str]) -> None:
        self.judged = tuple(judged)
        self.failed = dict(failed)
        gains = ", ".join(
            f"{one.name} {one.f1_gain:+.3f} (accuracy {one.accuracy_gain:+.3f})" for one in judged
        )
        super().__init__(
            "no rule makes the patched classes better on the validation images, and the model no "
            f"worse as a whole; F1: {gains}"
        )


def branch_scores(
    weak: Classifier,
    class_modules: Sequence[ClassModule],
    images: ImageSet,
    *,
    batch_size: int = 500,
) -> BranchScores:
    """Run a weak model and class modules over labelled images, each network once.

    Args:
        weak: the weak model.
        class_modules: one for each class to patch.
        images: with the weak model's classes, in its order.
        batch_size: images a batch; bounds the memory.

    Raises:
        PatchError: if a module's class is unknown to the weak model, or is patched twice.
    """
    patched = PatchedClassifier(weak, [Patch(one, NoCalibration()) for one in class_modules])
    with inference(patched):
        found = [
            patched.outputs(as_tensor(images.images[start : start + batch_size], weak.device))
            for start in range(0, len(images), batch_size)
        ]
    weak_logits, *raw = (
        torch.cat([batch[branch].cpu() for batch in found]).clone()
        for branch in range(1 + len(class_modules))
    )
    columns = tuple(weak.class_index(one.class_name) for one in class_modules)
    return BranchScores(weak_logits, torch.stack(raw), columns, images.labels)


def judge(
    name: RuleName,
    stored: Sequence[StoredCalibrations],
    given: BranchScores,
    class_names: tuple[str, ...],
) -> JudgedRule:
    """Fit a rule, and evaluate it on images that did not help to fit it.

    Args:
        name: which.
        stored: of each class module, what was stored with it.
        given: scores of validation images.
        class_names: the weak model's.

    Raises:
        CalibrationError: if it can't be fitted.
        DataError: if a patched class has no image, or there is no other.
    """
    rule = fit_of(name, stored)(given)
    scores = judging_scores(name, stored, given)
    answers = Answers(
        class_names, given.labels, predicted_labels(given.weak_logits), predicted_labels(scores)
    )
    return JudgedRule(name, rule, evaluate_scores(given, scores, class_names), answers)


def judging_scores(
    name: RuleName, stored: Sequence[StoredCalibrations], given: BranchScores
) -> Tensor:
    """What a rule may be judged by on the images that it can be fitted on: float32 (N, classes).

    Of a rule that is fitted on them, scores by cross-fitting; arguments and errors as of `judge`.
    """
    fit = fit_of(name, stored)
    return cross_fitted_scores(fit, given) if name.uses_weak_images else fit(given).scores(given)


def evaluate_scores(
    given: BranchScores, scores: Tensor, class_names: tuple[str, ...]
) -> tuple[PatchEvaluation, ...]:
    """Weak beside patched, once for each patched class.

    Args:
        given: scores of labelled images.
        scores: patched ones, (N, classes).
        class_names: the weak model's.
    """
    weak, patched = predicted_labels(given.weak_logits), predicted_labels(scores)
    return tuple(
        evaluate_patch(
            given.labels, weak, patched, class_names=class_names, target=class_names[column]
        )
        for column in given.columns
    )


@dataclass(frozen=True)
class Choice:
    """A rule, and what it was chosen from.

    Attributes:
        chosen: the rule.
        judged: all that could be fitted.
        failed: from the others' names to the reason.
        none_gained: of several rules none gained; what is chosen is the best of them anyway.
    """

    chosen: JudgedRule
    judged: tuple[JudgedRule, ...]
    failed: Mapping[str, str]
    none_gained: bool = False


def choose_rule(
    weak: Classifier,
    class_modules: Sequence[ClassModule],
    stored: Sequence[StoredCalibrations],
    images: ImageSet | None,
    rules: Sequence[RuleName] = REPLACEMENTS,
    *,
    must_gain: bool = False,
) -> Choice:
    """Choose the rule by which a patch gains most.

    Where several classes are patched, the log-odds of each are fitted against all other classes,
    patched ones among them, and then compete in one softmax with each other and with the weak
    side. What counts is the mean gain: one class may lose where the mean gains.

    Args:
        weak: the weak model.
        class_modules: one for each class to patch.
        stored: of each, what was stored with it.
        images: labelled ones with the weak model's classes; None for a single rule that needs
            none, which is taken unjudged.
        rules: to choose from; a single one is taken as it is.
        must_gain: refuse if no rule gains.

    Raises:
        PatchError: if a module's class is unknown to the weak model, or is patched twice.
        CalibrationError: if no rule can be fitted.
        DataError: if a patched class has no image, or there is no other.
        NoGainError: if none gains and one must.
    """
    if images is None:
        (name,) = rules
        if name.uses_weak_images:
            raise CalibrationError(f"{name} is fitted on labelled images of the weak model")
        nothing = BranchScores(torch.empty(0, 2), torch.empty(0, 0), (), np.empty(0, np.int64))
        unjudged = JudgedRule(name, fit_of(name, stored)(nothing), ())
        return Choice(unjudged, (unjudged,), {})
    given = branch_scores(weak, class_modules, images)
    judged: list[JudgedRule] = []
    failed: dict[str, str] = {}
    for name in rules:
        try:
            judged.append(judge(name, stored, given, weak.class_names))
        except CalibrationError as error:
            failed[str(name)] = str(error)
    if not judged:
        raise CalibrationError("; ".join(f"{name}: {why}" for name, why in failed.items()))
    best = best_of(judged)
    if best is None and must_gain:
        raise NoGainError(judged, failed)
    chosen = best or max(judged, key=lambda one: (one.f1_gain, one.accuracy_gain))
    none_gained = best is None and len(rules) > 1
    return Choice(chosen, tuple(judged), failed, none_gained=none_gained)


def best_of(judged: Iterable[JudgedRule]) -> JudgedRule | None:
    """The rule with the largest F1 gain among those by which the model is no worse as a whole.

    A weak model that never names a class has an accuracy on the others that no honest patch can
    keep; what the others may lose is therefore no more images than the patched classes win.

    Args:
        judged: the first of equals wins.

    Returns:
        None if none gains.
    """
    return most_gaining(judged, lambda one: (one.f1_gain, one.accuracy_gain))


def most_gaining(found: Iterable[T], gains: Callable[[T], tuple[float, float]]) -> T | None:
    """What `best_of` chooses by, for rules in any form.

    Args:
        found: the first of equals wins.
        gains: of F1 on the patched classes, and of accuracy on all images.

    Returns:
        None if none gains.
    """
    harmless = [one for one in found if gains(one)[0] > 0 and gains(one)[1] >= 0]
    return max(harmless, key=lambda one: gains(one)[0], default=None)


def choice_evidence(choice: Choice) -> dict[str, Any]:
    """What a choice was made by, as JSON values.

    ``registered_anyway`` is true where none of several rules gained: an ``--anyway`` overruled
    the refusal to choose. ``answers`` are the chosen rule's on each validation image, see
    `modularizer.answers`; of one that is fitted on them by cross-fitting.
    """
    return {
        "registered_anyway": choice.none_gained,
        "validation": [asdict(one) for one in choice.chosen.evaluations],
        ANSWERS: None if choice.chosen.answers is None else choice.chosen.answers.as_json(),
        "rules": [
            {**rule_evidence(one), "validation": [asdict(shown) for shown in one.evaluations]}
            for one in choice.judged
            if one.evaluations
        ],
        "rules_that_failed": dict(choice.failed),
    }


def rule_evidence(judged: JudgedRule) -> dict[str, Any]:
    """A rule and its gains on validation images, the means over classes, as JSON values."""
    return {
        "rule": str(judged.name),
        "uses_weak_images": judged.name.uses_weak_images,
        "fusion": judged.rule.fusion.model_dump(mode="json"),
        "calibrations": [one.model_dump(mode="json") for one in judged.rule.calibrations],
        "f1_gain": judged.f1_gain,
        "others_gain": judged.others_gain,
        "accuracy_gain": judged.accuracy_gain,
    }
