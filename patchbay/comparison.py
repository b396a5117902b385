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


def may_be_chance(evaluation: PatchEvaluation) -> bool:
    """Whether the 95 % interval of the F1 gain reaches 0 or below it."""
    return evaluation.gain_spread["f1"].low <= 0


def as_json(evaluation: PatchEvaluation) -> dict[str, Any]:
    """One evaluation as JSON values, with the 95 % interval of each gain.

    ``may_be_chance`` says of the F1 gain what `may_be_chance` does.
    """
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
        "may_be_chance": may_be_chance(evaluation),
        "fixes": evaluation.fixes,
        "regressions": evaluation.regressions,
    }


def show_comparison(
    title: str, evaluations: Sequence[PatchEvaluation], *, sides: str = "weak > patched"
) -> None:
    """A table: for each patched class weak > patched, and below it the gain's 95 % interval.

    Images are those of the class + those of the others. It fits a terminal of 100 columns.

    Args:
        title: of what.
        evaluations: one a class.
        sides: what they are of.
    """
    table(
        f"{title}: {sides}, below it the gain's 95 % interval",
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


def doubts(evaluations: Sequence[PatchEvaluation]) -> list[str]:
    """What a table of gains may let one overlook, a sentence each.

    Args:
        evaluations: one a patched class.

    Returns:
        For each class whose F1 gain may be chance, and each that loses where the mean gains.
    """
    gains = [one.patched.f1 - one.weak.f1 for one in evaluations]
    found = []
    for one, gain in zip(evaluations, gains, strict=True):
        spread = one.gain_spread["f1"]
        interval = f"{spread.low:+.3f} to {spread.high:+.3f}"
        if gain < 0 < sum(gains):
            found.append(
                f"Class {one.target} loses although the mean gains: {gain:+.3f} F1 ({interval})."
            )
        elif gain > 0 and may_be_chance(one):
            end = "below 0" if spread.low < 0 else "0"
            found.append(
                f"The interval of the F1 gain of class {one.target}, {interval}, reaches {end}: on "
                "these images the gain may be chance."
            )
    return found


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
