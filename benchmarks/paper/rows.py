"""What is compared: ways to patch, each a row of the tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from modularizer.assembly.fitting import BranchScores, Fit, Rule, fit_replacement, fit_temperature
from modularizer.assembly.fusions.replacement import Replacement
from modularizer.patching import PAPER, STACKING, STACKINGS, RuleName, StoredCalibrations, fit_of

PatchKind = Literal["modules", "mirrored", "random", "strong"]
"""What a weak model is patched with: its class's module; the same, which sees each image both
ways if the strong network learnt from mirrored images, too; one of a random mask of the same
size; the strong network's own score, nothing cut away."""

PATCHES: tuple[PatchKind, ...] = ("modules", "mirrored", "random", "strong")

STORED_WITH: dict[PatchKind, PatchKind] = {
    "modules": "modules",
    "mirrored": "modules",  # as `patchbay patch --mirrored` takes what was stored with a module
    "random": "random",
    "strong": "strong",
}
"""Whose scores of the strong network's own data a patch's stored calibrations are fitted on."""


@dataclass(frozen=True)
class Row:
    """A way to patch.

    Attributes:
        key: its name in files.
        title: its name in tables.
        fit: from what was stored with the module to how it is fitted.
        patch: what the weak model is patched with.
        uses_weak_images: whether it is fitted on the weak model's validation images, which the
            paper does not use.
        replaces: whether the module's score takes the place of the weak model's, as in the paper.
        candidate: whether it may be chosen; the others are there to compare with.
    """

    key: str
    title: str
    fit: Callable[[StoredCalibrations], Fit]
    patch: PatchKind = "modules"
    uses_weak_images: bool = False
    replaces: bool = True
    candidate: bool = True


def _named(name: RuleName) -> Callable[[StoredCalibrations], Fit]:
    return lambda stored: fit_of(name, [stored])


def _minmax_with_temperature(stored: StoredCalibrations) -> Fit:
    """The paper's calibration; only how sure the weak model is of the others is fitted."""

    def fit(given: BranchScores) -> Rule:
        fusion = Replacement(temperature=fit_temperature(given), renormalise=True)
        return Rule(fusion, (stored["minmax"],))

    return fit


def _fitted_without_temperature(_: StoredCalibrations) -> Fit:
    def fit(given: BranchScores) -> Rule:
        found = fit_replacement(given)
        return Rule(Replacement(renormalise=True), found.calibrations)

    return fit


_FITTED = RuleName("fitted", renormalise=True)
_CAREFUL_LOGISTIC = RuleName("logistic", caution=3)
_CAREFUL_STACKING = STACKINGS[-1]

ROWS: tuple[Row, ...] = (
    Row("paper", "min-max (the paper's)", _named(PAPER)),
    Row("none", "raw score", _named(RuleName("none")), candidate=False),
    Row(
        "minmax-renormalised",
        "min-max, others renormalised",
        _named(RuleName("minmax", renormalise=True)),
        candidate=False,
    ),
    Row("quantile", "5-95 % quantiles", _named(RuleName("quantile"))),
    Row("logistic", "logistic, strong side", _named(RuleName("logistic"))),
    Row("logistic-cautious", "logistic, caution 3", _named(_CAREFUL_LOGISTIC)),
    Row(
        "logistic-cautious-mirrored",
        "logistic, caution 3, mirrored",
        _named(_CAREFUL_LOGISTIC),
        "mirrored",
    ),
    Row(
        "logistic-renormalised",
        "logistic, others renormalised",
        _named(RuleName("logistic", renormalise=True)),
        candidate=False,
    ),
    Row(
        "minmax-temperature",
        "min-max, weak temperature fitted",
        _minmax_with_temperature,
        uses_weak_images=True,
        candidate=False,
    ),
    Row(
        "fitted-without-temperature",
        "fitted, no temperature",
        _fitted_without_temperature,
        uses_weak_images=True,
        candidate=False,
    ),
    Row(
        "fitted-with-weak-entry",
        "fitted, weak entry left in the softmax",
        _named(RuleName("fitted")),
        uses_weak_images=True,
    ),
    Row("fitted", "fitted", _named(_FITTED), uses_weak_images=True),
    Row("fitted-mirrored", "fitted, mirrored", _named(_FITTED), "mirrored", uses_weak_images=True),
    Row("stack", "stacked", _named(STACKING), uses_weak_images=True, replaces=False),
    Row(
        "stack-cautious",
        "stacked, caution 1.5",
        _named(_CAREFUL_STACKING),
        uses_weak_images=True,
        replaces=False,
    ),
    Row(
        "stack-mirrored",
        "stacked, mirrored",
        _named(STACKING),
        "mirrored",
        uses_weak_images=True,
        replaces=False,
    ),
    Row(
        "stack-cautious-mirrored",
        "stacked, caution 1.5, mirrored",
        _named(_CAREFUL_STACKING),
        "mirrored",
        uses_weak_images=True,
        replaces=False,
    ),
    Row("strong-paper", "strong model itself, min-max", _named(PAPER), "strong", candidate=False),
    Row(
        "strong-fitted",
        "strong model itself, fitted",
        _named(_FITTED),
        "strong",
        uses_weak_images=True,
        candidate=False,
    ),
    Row("random-paper", "random mask, min-max", _named(PAPER), "random", candidate=False),
    Row(
        "random-fitted",
        "random mask, fitted",
        _named(_FITTED),
        "random",
        uses_weak_images=True,
        candidate=False,
    ),
)
