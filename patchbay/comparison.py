"""Weak beside patched: the same rows for every command that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from patchbay.console import table

if TYPE_CHECKING:
    from rich.text import Text

    from modularizer.metrics import PatchEvaluation

SHOWN = ("precision", "recall", "f1", "others_accuracy")
_TITLES = ("precision", "recall", "F1", "others right")


def fractions(evaluation: PatchEvaluation, side: str) -> dict[str, float]:
    """The shown metrics of one side, ``weak`` or ``patched``: fractions in [0, 1]."""
    metrics = getattr(evaluation, side)
    return {name: getattr(metrics, name) for name in SHOWN}


def as_json(evaluation: PatchEvaluation) -> dict[str, Any]:
    """One evaluation as JSON values, with the 95 % interval of each gain."""
    return {
        "target": evaluation.target,
        "images": evaluation.images,
        "target_images": evaluation.target_images,
        "weak": fractions(evaluation, "weak"),
        "patched": fractions(evaluation, "patched"),
        "gain_interval": {
            name: [evaluation.gain_spread[name].low, evaluation.gain_spread[name].high]
            for name in SHOWN
        },
        "fixes": evaluation.fixes,
        "regressions": evaluation.regressions,
    }


def show_comparison(title: str, evaluations: Sequence[PatchEvaluation]) -> None:
    """A table: for each patched class weak > patched, and below it the gain's 95 % interval.

    Images are those of the class + those of the others. It fits a terminal of 100 columns.
    """
    table(
        f"{title}: weak > patched, below it the gain's 95 % interval",
        ("class", "images", *_TITLES, "answers"),
        [
            (
                one.target,
                f"{one.target_images} + {one.images - one.target_images}",
                *(_cell(one, name) for name in SHOWN),
                f"{one.fixes} fixed\n{one.regressions} broken",
            )
            for one in evaluations
        ],
        left=2,
    )


def _cell(one: PatchEvaluation, name: str) -> Text:
    from rich.text import Text

    weak, patched = getattr(one.weak, name), getattr(one.patched, name)
    spread = one.gain_spread[name]
    colour = "green" if patched > weak else "red" if patched < weak else ""
    return Text.assemble(
        f"{weak:.3f} > ",
        (f"{patched:.3f}", colour),
        "\n",
        (f"{spread.low:+.2f} to {spread.high:+.2f}", "dim"),
    )
