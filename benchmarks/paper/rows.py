"""What is compared: ways to patch, each a row of the tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

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
        rule: how it is fitted: a rule of `modularizer.patching`, or one that is there for
            comparison alone, from what was stored with the module to its fit.
        patch: what the weak model is patched with.
        uses_weak_images: whether it is fitted on the weak model's validation images, which the
            paper does not use.
        replaces: whether the module's score takes the place of the weak model's, as in the paper.
        candidate: whether it may be chosen; the others are there to compare with.
    """

    key: str
    title: str
    rule: RuleName | Callable[[StoredCalibrations], Fit]
    patch: PatchKind = "modules"
    uses_weak_images: bool = False
    replaces: bool = True
    candidate: bool = True

    def fit(self, stored: StoredCalibrations) -> Fit:
        """How it is fitted, with what was stored with the module."""
        if isinstance(self.rule, RuleName):
            return fit_of(self.rule, [stored])
        return self.rule(stored)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that its fit depends on, beside scores, as JSON values."""
        rule = asdict(self.rule) if isinstance(self.rule, RuleName) else self.rule.__name__
        return {"key": self.key, "rule": rule, "patch": self.patch}


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
_FITTED_WITH_WEAK_ENTRY = RuleName("fitted")

_CONTROLS: tuple[tuple[PatchKind, str], ...] = (
    ("strong", "strong model itself"),
    ("random", "random mask"),
)

ROWS: tuple[Row, ...] = (
    Row("paper", "min-max (the paper's)", PAPER),
    Row("none", "raw score", RuleName("none"), candidate=False),
    Row(
        "minmax-renormalised",
        "min-max, others renormalised",
        RuleName("minmax", renormalise=True),
        candidate=False,
    ),
    Row("quantile", "5-95 % quantiles", RuleName("quantile")),
    Row("logistic", "logistic, strong side", RuleName("logistic")),
    Row("logistic-cautious", "logistic, caution 3", _CAREFUL_LOGISTIC),
    Row(
        "logistic-cautious-mirrored",
        "logistic, caution 3, mirrored",
        _CAREFUL_LOGISTIC,
        "mirrored",
    ),
    Row(
        "logistic-renormalised",
        "logistic, others renormalised",
        RuleName("logistic", renormalise=True),
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
        _FITTED_WITH_WEAK_ENTRY,
        uses_weak_images=True,
    ),
    Row("fitted", "fitted", _FITTED, uses_weak_images=True),
    Row("fitted-mirrored", "fitted, mirrored", _FITTED, "mirrored", uses_weak_images=True),
    Row("stack", "stacked", STACKING, uses_weak_images=True, replaces=False),
    Row(
        "stack-cautious",
        "stacked, caution 1.5",
        _CAREFUL_STACKING,
        uses_weak_images=True,
        replaces=False,
    ),
    Row(
        "stack-mirrored",
        "stacked, mirrored",
        STACKING,
        "mirrored",
        uses_weak_images=True,
        replaces=False,
    ),
    Row(
        "stack-cautious-mirrored",
        "stacked, caution 1.5, mirrored",
        _CAREFUL_STACKING,
        "mirrored",
        uses_weak_images=True,
        replaces=False,
    ),
    Row("strong-paper", "strong model itself, min-max", PAPER, "strong", candidate=False),
    Row(
        "strong-fitted",
        "strong model itself, fitted",
        _FITTED,
        "strong",
        uses_weak_images=True,
        candidate=False,
    ),
    Row("random-paper", "random mask, min-max", PAPER, "random", candidate=False),
    Row(
        "random-fitted",
        "random mask, fitted",
        _FITTED,
        "random",
        uses_weak_images=True,
        candidate=False,
    ),
    *(
        Row(
            f"{patch}-{key}",
            f"{what}, {title}",
            rule,
            patch,
            uses_weak_images=rule.uses_weak_images,
            replaces=rule.fusion == "replace",
            candidate=False,
        )
        for patch, what in _CONTROLS
        for key, title, rule in (
            ("logistic-cautious", "logistic, caution 3", _CAREFUL_LOGISTIC),
            ("fitted-with-weak-entry", "fitted, weak entry left", _FITTED_WITH_WEAK_ENTRY),
            ("stack-cautious", "stacked, caution 1.5", _CAREFUL_STACKING),
        )
    ),
)
