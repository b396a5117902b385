"""Every fit and every choice, made on validation images and written down before the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from benchmarks.paper.rows import ROWS, Auto, Row
from benchmarks.paper.scores import SuiteScores
from benchmarks.paper.track import KINDS
from modularizer.assembly.calibration import Calibration
from modularizer.assembly.calibrations.fitted import FittedCalibration
from modularizer.assembly.fitting import Rule, cross_fitted_scores, predicted_labels
from modularizer.assembly.fusion import Fusion
from modularizer.assembly.fusions.stacking import Stacking
from modularizer.metrics import METRICS, ClassMetrics, class_metrics
from modularizer.patching import most_gaining

CHOICE = 1
"""Which way of choosing `best_row` is; another number makes every choice anew."""

Fits = Mapping[str, Mapping[str, Rule]]
"""From a row's key to model (``suite/target/kind``) to the rule that was fitted."""

_FUSION: TypeAdapter[Fusion] = TypeAdapter(Fusion)
_CALIBRATION: TypeAdapter[Calibration] = TypeAdapter(Calibration)


def select(suites: Iterable[SuiteScores]) -> dict[str, Any]:
    """Fit every row to every weak model, and choose the best rows, on validation images.

    Args:
        suites: scores on validation images.

    Returns:
        JSON values: ``rows`` from key to ``models``, each with its rule and, cross-fitted where
        the rule is fitted on these images, its metrics beside the weak model's; ``chosen`` from
        ``paper``, ``best_replacement``, ``best`` to keys; ``harms`` from these to what such a row
        does worse than it should, on validation images.
    """
    every = list(suites)
    rows: dict[str, Any] = {}
    for row in ROWS:
        if isinstance(row.rule, Auto):
            models = chosen_for_each([rows[key]["models"] for key in row.rule.rows])
        else:
            models = _fitted(row, every)
        rows[row.key] = {"models": models}
    candidates = [row for row in ROWS if row.purpose == "candidate"]
    replacing = [row for row in candidates if row.replaces]
    chosen = {
        "paper": "paper",
        "best_replacement": best_row(replacing, rows),
        "best": best_row(candidates, rows),
    }
    return {
        "rows": rows,
        "chosen": chosen,
        "harms": {name: harms(key, rows) for name, key in chosen.items()},
    }


def fits_of(selection: Mapping[str, Any]) -> Fits:
    """The rules of a selection, as they were written down."""
    return {
        key: {
            model: Rule(
                _FUSION.validate_python(found["fusion"]),
                tuple(_CALIBRATION.validate_python(one) for one in found["calibrations"]),
            )
            for model, found in row["models"].items()
        }
        for key, row in selection["rows"].items()
    }


def mean_gains(models: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """What patched models gain over weak ones, on average over models."""
    gains = [[one["patched"][name] - one["weak"][name] for name in METRICS] for one in models]
    return dict(zip(METRICS, np.mean(gains, axis=0).tolist(), strict=True))


def chosen_for_each(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Model by model, what ``patchbay patch --data`` would choose from rows.

    Where nothing gains, nothing is registered and the weak model stays as it is.

    Args:
        rows: of each the models, as `select` has them; the first of equals is taken.
    """
    found = {}
    for model in rows[0]:
        fitted = [row[model] for row in rows]
        best = most_gaining(fitted, lambda one: (_gain(one, "f1"), _gain(one, "accuracy")))
        weak = fitted[0]["weak"]
        found[model] = best or {**_unpatched(), "weak": weak, "patched": weak}
    return found


def _gain(fitted: Mapping[str, Any], metric: str) -> float:
    return float(fitted["patched"][metric] - fitted["weak"][metric])


def _unpatched() -> dict[str, Any]:
    """The weak model's own scores, as a rule: its own odds of the class, and no module's."""
    alone = Stacking(renormalise=True, weak_weights=(1.0,))
    nothing = FittedCalibration(scale=0.0, shift=0.0)
    return {
        "fusion": alone.model_dump(mode="json"),
        "calibrations": [nothing.model_dump(mode="json")],
    }


def _fitted(row: Row, suites: Sequence[SuiteScores]) -> dict[str, Any]:
    found = {}
    for scores in suites:
        for target, kind in scores.models():
            given = scores.given(target, kind, row.patch)
            fit = row.fit(scores.stored(target, row.patch))
            rule = fit(given)
            patched = (
                cross_fitted_scores(fit, given) if row.uses_weak_images else rule.scores(given)
            )
            (column,) = given.columns
            found[f"{scores.suite}/{target}/{kind}"] = {
                "fusion": rule.fusion.model_dump(mode="json"),
                "calibrations": [one.model_dump(mode="json") for one in rule.calibrations],
                "weak": _metrics(given.labels, predicted_labels(given.weak_logits), column),
                "patched": _metrics(given.labels, predicted_labels(patched), column),
            }
    return found


def _metrics(labels: Any, predicted: Any, column: int) -> dict[str, float]:
    found: ClassMetrics = class_metrics(labels, predicted, column)
    return asdict(found)


def best_row(candidates: Sequence[Row], rows: Mapping[str, Any]) -> str:
    """The row with the largest mean F1 gain of those with the fewest `harms`; mostly none."""
    fewest = min(len(harms(row.key, rows)) for row in candidates)
    harmless = [row for row in candidates if len(harms(row.key, rows)) == fewest]
    best = max(harmless, key=lambda row: mean_gains(rows[row.key]["models"].values())["f1"])
    return best.key


def harms(key: str, rows: Mapping[str, Any]) -> list[str]:
    """What a row does worse on average than it should.

    Recall should gain for each kind of weak model, precision as much as by the paper's rule, and
    the accuracy on other classes as much as by the paper's rule and not fall.

    Args:
        key: the row's.
        rows: from key to ``models``, as `select` has them.
    """
    paper = mean_gains(rows["paper"]["models"].values())
    models = rows[key]["models"]
    gains = mean_gains(models.values())
    found = []
    for kind in KINDS:
        own = [one for name, one in models.items() if name.endswith(f"/{kind}")]
        if own and mean_gains(own)["recall"] <= 0:
            found.append(f"recall of {kind} models")
    if gains["precision"] < paper["precision"]:
        found.append("precision")
    if gains["others_accuracy"] < max(paper["others_accuracy"], 0):
        found.append("other classes")
    return found
