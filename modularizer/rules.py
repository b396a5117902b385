"""What a rule is: a calibration and a fusion by name, the sets to choose from, how it is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from modularizer.assembly.calibration import Calibration
from modularizer.assembly.calibrations.logistic import fit_logistic
from modularizer.assembly.calibrations.minmax import fit_minmax
from modularizer.assembly.calibrations.quantile import fit_quantile
from modularizer.assembly.calibrations.raw import NoCalibration
from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.fitting import Fit, Rule, cautious, fit_replacement, fit_stacking
from modularizer.assembly.fusions.replacement import Replacement
from modularizer.classifier import predict
from modularizer.datasets.data_splits import DataSplits
from modularizer.errors import CalibrationError

CalibrationName = Literal["minmax", "none", "quantile", "logistic", "fitted"]
FusionName = Literal["replace", "stack"]
StoredCalibrations = Mapping[str, Calibration]
"""What was fitted on the strong model's images when it was taken apart, by kind."""


@dataclass(frozen=True)
class RuleName:
    """A rule before it is fitted.

    Attributes:
        calibration: of the class modules' scores.
        fusion: of these with the weak model's.
        renormalise: whether the weak model's belief in a patched class counts for nothing;
            otherwise it makes the other scores smaller. Stacking always renormalises.
        caution: what a patched class's odds are divided by before they compete; it goes with
            scores that are odds or probabilities, fitted or logistic.
    """

    calibration: CalibrationName = "minmax"
    fusion: FusionName = "replace"
    renormalise: bool = False
    caution: float = 1.0

    @property
    def uses_weak_images(self) -> bool:
        """Whether it is fitted on the weak model's labelled images, which the paper's is not."""
        return self.calibration == "fitted"

    def __str__(self) -> str:
        name: str = "stack" if self.fusion == "stack" else self.calibration
        if self.caution != 1:
            name = f"{name}, caution {self.caution:g}"
        return name + self._weak_side

    @property
    def _weak_side(self) -> str:
        """What to say of the weak entry, where it is not dealt with as the calibration does."""
        if self.fusion == "stack" or self.renormalise == self.uses_weak_images:
            return ""
        return ", others renormalised" if self.renormalise else ", weak entry kept"


PAPER = RuleName()

REPLACEMENTS: tuple[RuleName, ...] = (
    PAPER,
    RuleName("quantile"),
    RuleName("logistic"),
    RuleName("logistic", caution=3),
    RuleName("fitted", renormalise=True),
)
"""Rules that ``auto`` chooses from, the first of equals first."""

STACKING = RuleName("fitted", "stack", renormalise=True)

STACKINGS: tuple[RuleName, ...] = (STACKING, replace(STACKING, caution=1.5))
"""What stacking adds to the choice. This caution, and 3 for the logistic rule, are the round
numbers at which other classes gain on average as much as by the paper's rule, on the validation
images of the small track of `benchmarks.paper`; at 1 they gain, too, but less."""


def fit_strong_side(
    class_module: ClassModule, data: DataSplits, *, batch_size: int = 500
) -> dict[str, Calibration]:
    """Every calibration that the strong model's own images are enough for, by kind.

    Min-max and quantiles are fitted on training images of the class, the logistic one on
    validation images of all classes, on which a network is no surer than it should be.

    Args:
        class_module: a module of the strong model.
        data: what that was taken apart with.
        batch_size: images a batch; bounds the memory.

    Raises:
        CalibrationError: if the module gives every training image of its class the same score.
    """
    own = predict(class_module, data.train.of_class(class_module.class_name), batch_size=batch_size)
    found: dict[str, Calibration] = {"minmax": fit_minmax(own)}
    scores = predict(class_module, data.validation.images, batch_size=batch_size)
    is_class = data.validation.labels == data.class_names.index(class_module.class_name)
    for kind, fit in (
        ("quantile", lambda: fit_quantile(own)),
        ("logistic", lambda: fit_logistic(scores, is_class)),
    ):
        with suppress(CalibrationError):  # it is left out; the paper's is there
            found[kind] = fit()
    return found


def fit_of(name: RuleName, stored: Sequence[StoredCalibrations]) -> Fit:
    """How a rule is fitted.

    Args:
        name: which.
        stored: of each class module, what was stored with it.

    Raises:
        CalibrationError: if a module lacks the calibration, or caution does not go with it.
    """
    if name.caution == 1:
        return _fit_of(name, stored)
    fit = _fit_of(replace(name, caution=1), stored)
    return lambda given: cautious(fit(given), name.caution)


def _fit_of(name: RuleName, stored: Sequence[StoredCalibrations]) -> Fit:
    if name.fusion == "stack":
        if name.calibration != "fitted":
            raise CalibrationError(f"stacking is always fitted, not {name.calibration}")
        return fit_stacking
    if name.calibration == "fitted":
        return partial(fit_replacement, renormalise=name.renormalise)
    calibrations = tuple(_stored(name.calibration, one) for one in stored)
    rule = Rule(Replacement(renormalise=name.renormalise), calibrations)
    return lambda _: rule


def _stored(kind: str, stored: StoredCalibrations) -> Calibration:
    if kind == "none":
        return NoCalibration()
    if kind not in stored:
        raise CalibrationError(
            f"a class module has no {kind} calibration; it has {', '.join(stored)}. Take the "
            "strong model apart again to have all"
        )
    return stored[kind]
