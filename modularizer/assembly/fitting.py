"""Fitting calibrations to a weak model's labelled images, and judging the fit honestly."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modularizer.assembly.calibration import Calibration
from modularizer.assembly.calibrations.fitted import FittedCalibration
from modularizer.assembly.calibrations.logistic import LogisticCalibration
from modularizer.assembly.calibrations.regression import log_odds
from modularizer.assembly.calibrations.stored import require_spread
from modularizer.assembly.fusion import Fusion
from modularizer.assembly.fusions.replacement import Replacement
from modularizer.assembly.fusions.stacking import Stacking
from modularizer.assembly.fusions.weak_side import WeakSide, weak_log_odds
from modularizer.assembly.kept_fits import once
from modularizer.errors import CalibrationError

FOLDS = 5
_TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True, eq=False)
class BranchScores:
    """What each branch of a patched model gives on labelled images.

    Attributes:
        weak_logits: float32 (N, classes).
        raw: float32 (patches, N): each class module's score.
        columns: the class of each patch, as a label.
        labels: int64 (N,).
    """

    weak_logits: Tensor
    raw: Tensor
    columns: tuple[int, ...]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[np.int64]) -> BranchScores:
        """The same of some images; ``chosen`` are their places."""
        at = torch.from_numpy(chosen)
        return BranchScores(
            self.weak_logits[at], self.raw[:, at], self.columns, self.labels[chosen]
        )


@dataclass(frozen=True)
class Rule:
    """A fusion with the calibrations that go with it: all that a patched answer is made by.

    Attributes:
        fusion: how scores join.
        calibrations: one a patch.
    """

    fusion: Fusion
    calibrations: tuple[Calibration, ...]

    def scores(self, given: BranchScores) -> Tensor:
        """Patched scores, float32 (N, classes)."""
        return self.fusion.combine(
            given.weak_logits, given.columns, self.calibrations, tuple(given.raw)
        )


Fit = Callable[[BranchScores], Rule]
"""From labelled images to a rule."""


def fit_replacement(given: BranchScores, *, renormalise: bool = True) -> Rule:
    """Scale and shift of each module's score, and a temperature of the weak softmax.

    Args:
        given: labelled images of the weak model, of each patched class and of others.
        renormalise: whether the weak model's belief in a patched class counts for nothing.

    Raises:
        CalibrationError: if a side is missing, or scores are not finite or all equal.
    """
    _require_finite(given.weak_logits)
    calibrations = []
    for column, raw in zip(given.columns, given.raw.double().numpy(), strict=True):
        require_spread(raw, "fitted")
        shift, scale = _log_odds(raw[:, None], given.labels == column)
        calibrations.append(FittedCalibration(scale=scale, shift=shift))
    temperature = fit_temperature(given)
    return Rule(Replacement(temperature=temperature, renormalise=renormalise), tuple(calibrations))


def fit_stacking(given: BranchScores) -> Rule:
    """The same with a weight for the weak model's own log-odds of each patched class.

    Args:
        given: labelled images of the weak model, of each patched class and of others.

    Raises:
        CalibrationError: as `fit_replacement`.
    """
    _require_finite(given.weak_logits)
    calibrations, weights = [], []
    for column, raw in zip(given.columns, given.raw.double().numpy(), strict=True):
        require_spread(raw, "fitted")
        own = weak_log_odds(given.weak_logits.double(), column).numpy()
        features = np.stack([raw, own], axis=1)
        shift, scale, weight = _log_odds(features, given.labels == column)
        calibrations.append(FittedCalibration(scale=scale, shift=shift))
        weights.append(weight)
    fusion = Stacking(
        temperature=fit_temperature(given), renormalise=True, weak_weights=tuple(weights)
    )
    return Rule(fusion, tuple(calibrations))


def cautious(rule: Rule, caution: float) -> Rule:
    """The same rule, by which a patched class has to be more likely to be answered.

    Args:
        rule: with calibrations that give odds or a probability: fitted or logistic.
        caution: what the odds of each patched class are divided by before they compete.

    Raises:
        CalibrationError: if a calibration gives no odds.
    """
    calibrations: list[Calibration] = []
    for one in rule.calibrations:
        if not isinstance(one, FittedCalibration | LogisticCalibration):
            raise CalibrationError(f"caution divides odds, and {one.kind} scores are none")
        calibrations.append(one.model_copy(update={"shift": one.shift - math.log(caution)}))
    return Rule(rule.fusion, tuple(calibrations))


def fit_temperature(given: BranchScores) -> float:
    """The temperature at which the weak model is as sure of unpatched classes as it may be.

    After Guo et al., "On Calibration of Modern Neural Networks", 2017: the least cross-entropy on
    images of unpatched classes, among those classes.

    Args:
        given: labelled images.

    Returns:
        Between 0.05 and 20; 1 if fewer than two classes are unpatched.

    Raises:
        CalibrationError: if no image is of an unpatched class, or a logit is not finite.
    """
    from scipy.optimize import minimize_scalar

    if given.weak_logits.shape[1] - len(given.columns) < 2:
        return 1.0
    others = ~np.isin(given.labels, given.columns)
    if not others.any():
        raise CalibrationError("a temperature needs images of classes that are not patched")
    logits = given.weak_logits[torch.from_numpy(others)].double()
    _require_finite(logits)
    labels = torch.from_numpy(given.labels[others])

    def cross_entropy(log_temperature: float) -> float:
        side = WeakSide(temperature=float(np.exp(log_temperature)), renormalise=True)
        return float(torch.nn.functional.cross_entropy(side.logits(logits, given.columns), labels))

    def fit() -> float:
        low, high = np.log(_TEMPERATURES)
        found = minimize_scalar(cross_entropy, bounds=(low, high), method="bounded")
        return float(np.exp(found.x))

    columns = np.sort(np.array(given.columns))
    return once(fit, "temperature", logits.numpy(), given.labels[others], columns)


def _log_odds(features: NDArray[np.float64], is_class: NDArray[np.bool_]) -> tuple[float, ...]:
    return once(lambda: log_odds(features, is_class), "log-odds", features, is_class)


def _require_finite(weak_logits: Tensor) -> None:
    if not torch.isfinite(weak_logits).all():
        raise CalibrationError("the weak model gives NaN or infinite scores")


def cross_fitted_scores(
    fit: Fit, given: BranchScores, *, folds: int = FOLDS, seed: int = 0
) -> Tensor:
    """Scores that no image helped to fit: what is fitted on some folds is applied to the other.

    Args:
        fit: the fit to judge.
        given: labelled images, at least ``folds`` of each class that is needed.
        folds: as even in every class as it goes.
        seed: which image is in which fold.

    Returns:
        float32 (N, classes), in the order of the images.

    Raises:
        CalibrationError: if there are too few images, or a fit fails on its folds.
    """
    for column in given.columns:
        own = int((given.labels == column).sum())
        if min(own, len(given) - own) < 2:
            raise CalibrationError(
                "cross-fitting needs two images or more of each patched class and of others; found "
                f"{own} and {len(given) - own}"
            )
    fold = fold_of(given.labels, folds, seed)
    scores = torch.empty_like(given.weak_logits)
    for one in range(folds):
        held, rest = np.flatnonzero(fold == one), np.flatnonzero(fold != one)
        if len(held):
            scores[torch.from_numpy(held)] = fit(given.take(rest)).scores(given.take(held))
    return scores


def fold_of(labels: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """A fold for each image, dealt class by class in a random order: int64 (N,)."""
    generator = np.random.default_rng(seed)
    fold = np.empty(len(labels), dtype=np.int64)
    dealt = 0
    for label in np.unique(labels):
        own = generator.permutation(np.flatnonzero(labels == label))
        fold[own] = (dealt + np.arange(len(own))) % folds
        dealt += len(own)
    return fold


def predicted_labels(scores: Tensor) -> NDArray[np.int64]:
    """The class with the highest of (N, classes) scores, the first of equals: int64 (N,)."""
    found: NDArray[np.int64] = scores.argmax(dim=1).numpy()
    return found
