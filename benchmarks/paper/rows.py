"""What is compared: ways to patch, each a row of the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from modularizer.assembly.calibrations.fitted import FittedCalibration
from modularizer.assembly.calibrations.regression import log_odds
from modularizer.assembly.fitting import (
    BranchScores,
    Fit,
    Rule,
    cautious,
    fit_replacement,
    fit_temperature,
)
from modularizer.assembly.fusions.replacement import Replacement
from modularizer.assembly.fusions.stacking import Stacking
from modularizer.assembly.fusions.weak_side import weak_log_odds
from modularizer.rules import (
    PAPER,
    REPLACEMENTS,
    STACKING,
    STACKINGS,
    RuleName,
    StoredCalibrations,
    fit_of,
)

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


Purpose = Literal["candidate", "reference", "ablation"]
"""Whether a row may be chosen, is there to hold the chosen ones against, or shows one change."""


@dataclass(frozen=True)
class OwnFit:
    """A fit to the weak model's images that `patchbay patch` does not offer.

    Attributes:
        name: which; files tell it by this.
        fit: from what was stored with the module to the fit.
        replaces: see `Row`.
    """

    name: str
    fit: Callable[[StoredCalibrations], Fit]
    replaces: bool = True


@dataclass(frozen=True)
class Auto:
    """What ``patchbay patch --data`` does: model by model the row that gains most.

    Attributes:
        rows: keys of the rows that it chooses from, all of them before this one.
        replaces: see `Row`.
    """

    rows: tuple[str, ...]
    replaces: bool


@dataclass(frozen=True)
class Row:
    """A way to patch.

    Attributes:
        key: its name in files.
        title: its name in tables.
        rule: how it is fitted.
        patch: what the weak model is patched with.
        purpose: see `Purpose`.
    """

    key: str
    title: str
    rule: RuleName | OwnFit | Auto
    patch: PatchKind = "modules"
    purpose: Purpose = "candidate"

    @property
    def uses_weak_images(self) -> bool:
        """Whether it needs the weak model's validation images, which the paper does not."""
        return self.rule.uses_weak_images if isinstance(self.rule, RuleName) else True

    @property
    def replaces(self) -> bool:
        """Whether the module's score takes the place of the weak model's, as in the paper."""
        if isinstance(self.rule, RuleName):
            return self.rule.fusion == "replace"
        return self.rule.replaces

    def fit(self, stored: StoredCalibrations) -> Fit:
        """How it is fitted, with what was stored with the module.

        Raises:
            TypeError: if it is not fitted, but chosen from others.
        """
        if isinstance(self.rule, Auto):
            raise TypeError(f"{self.key} is chosen from other rows")
        if isinstance(self.rule, OwnFit):
            return self.rule.fit(stored)
        return fit_of(self.rule, [stored])

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that its fit, and what is chosen, depends on beside scores: JSON values."""
        rule = self.rule.name if isinstance(self.rule, OwnFit) else asdict(self.rule)
        return {"key": self.key, "rule": rule, "patch": self.patch, "purpose": self.purpose}


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


def _no_module(caution: float) -> Callable[[StoredCalibrations], Fit]:
    """Stacking without a module: the weak model's own belief, fitted to its own images."""

    def fit(given: BranchScores) -> Rule:
        (column,) = given.columns
        own = weak_log_odds(given.weak_logits.double(), column).numpy()
        shift, weight = log_odds(own[:, None], given.labels == column)
        fusion = Stacking(
            temperature=fit_temperature(given), renormalise=True, weak_weights=(weight,)
        )
        return cautious(Rule(fusion, (FittedCalibration(scale=0.0, shift=shift),)), caution)

    return lambda _: fit


_FITTED = RuleName("fitted", renormalise=True)
_CAREFUL_LOGISTIC = RuleName("logistic", caution=3)
_CAREFUL_STACKING = STACKINGS[-1]
_FITTED_WITH_WEAK_ENTRY = RuleName("fitted")

_PATCHED: tuple[Row, ...] = (
    Row("paper", "min-max (the paper's)", PAPER),
    Row("none", "raw score", RuleName("none"), purpose="ablation"),
    Row(
        "minmax-renormalised",
        "min-max, others renormalised",
        RuleName("minmax", renormalise=True),
        purpose="ablation",
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
        purpose="ablation",
    ),
    Row(
        "minmax-temperature",
        "min-max, weak temperature fitted",
        OwnFit("minmax-temperature", _minmax_with_temperature),
        purpose="ablation",
    ),
    Row(
        "fitted-without-temperature",
        "fitted, no temperature",
        OwnFit("fitted-without-temperature", _fitted_without_temperature),
        purpose="ablation",
    ),
    Row(
        "fitted-with-weak-entry",
        "fitted, weak entry left in the softmax",
        _FITTED_WITH_WEAK_ENTRY,
    ),
    Row("fitted", "fitted", _FITTED),
    Row("fitted-mirrored", "fitted, mirrored", _FITTED, "mirrored"),
    Row("stack", "stacked", STACKING),
    Row(
        "stack-cautious",
        "stacked, caution 1.5",
        _CAREFUL_STACKING,
    ),
    Row(
        "stack-mirrored",
        "stacked, mirrored",
        STACKING,
        "mirrored",
    ),
    Row(
        "stack-cautious-mirrored",
        "stacked, caution 1.5, mirrored",
        _CAREFUL_STACKING,
        "mirrored",
    ),
)


def _keys_of(rules: Iterable[RuleName]) -> tuple[str, ...]:
    """The rows of modules that are patched by these rules."""
    keys = {row.rule: row.key for row in _PATCHED if row.patch == "modules"}
    return tuple(keys[rule] for rule in rules)


_CONTROLS: tuple[tuple[PatchKind, str], ...] = (
    ("strong", "strong model itself"),
    ("random", "random mask"),
)

_CONTROLLED: tuple[tuple[str, str, RuleName], ...] = (
    ("paper", "min-max", PAPER),
    ("fitted", "fitted", _FITTED),
    ("logistic-cautious", "logistic, caution 3", _CAREFUL_LOGISTIC),
    ("fitted-with-weak-entry", "fitted, weak entry left", _FITTED_WITH_WEAK_ENTRY),
    ("stack-cautious", "stacked, caution 1.5", _CAREFUL_STACKING),
)

ROWS: tuple[Row, ...] = (
    *_PATCHED,
    Row(
        "auto",
        "chosen for each model, replacing",
        Auto(_keys_of(REPLACEMENTS), replaces=True),
        purpose="reference",
    ),
    Row(
        "auto-stack",
        "chosen for each model, stacking allowed",
        Auto(_keys_of((*REPLACEMENTS, *STACKINGS)), replaces=False),
        purpose="reference",
    ),
    *(
        Row(f"{patch}-{key}", f"{what}, {title}", rule, patch, "reference")
        for patch, what in _CONTROLS
        for key, title, rule in _CONTROLLED
    ),
    Row(
        "no-module",
        "no module, stacked",
        OwnFit("no-module", _no_module(1.0), replaces=False),
        purpose="reference",
    ),
    Row(
        "no-module-cautious",
        "no module, stacked, caution 1.5",
        OwnFit("no-module-cautious", _no_module(1.5), replaces=False),
        purpose="reference",
    ),
)
"""All of them, in the order of the tables."""
