"""The gate's verdict as tables and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchbay.console import facts, say, table

if TYPE_CHECKING:
    from modularizer.gate import Verdict
    from modularizer.settings import GateSettings
    from patchbay.gating import Judgement
    from registry.version import Version


def show_judgement(version: Version, judged: Judgement, settings: GateSettings) -> None:
    """What a version was judged by, how each class does, and what speaks against it."""
    facts(
        f"The gate for {version.uri}",
        [
            ("judged by", judged.basis),
            ("compared with", judged.compared_with or "nothing in use yet"),
            ("asked for", _thresholds(settings)),
        ],
    )
    if judged.verdict is not None:
        _show_verdict(judged.verdict)
    for reason in judged.reasons:
        say(f"Refused: {reason}.")
    if judged.passed:
        say("Passed.")


def _thresholds(settings: GateSettings) -> str:
    test = "bootstrap interval" if settings.gain_test == "bootstrap" else "McNemar's exact test"
    return (
        f"a gain of each patched class over the weak model by the {test} (alpha "
        f"{settings.alpha:g}), losses of {settings.max_loss:g} at most"
    )


def _show_verdict(verdict: Verdict) -> None:
    rows = [
        (
            f"F1 of {one.name}",
            str(one.images),
            f"{one.weak_f1:.3f}",
            _or_dash(one.current_f1),
            f"{one.f1:.3f}",
            f"{one.gain_low:+.3f} to {one.gain_high:+.3f}",
            f"{one.p_value:.2g}",
        )
        for one in verdict.classes
    ]
    rows += [
        (
            f"F1 of {one.name}, patched by the one in use alone",
            str(one.images),
            f"{one.weak_f1:.3f}",
            f"{one.current_f1:.3f}",
            f"{one.f1:.3f}",
            "",
            "",
        )
        for one in verdict.lost_patches
    ]
    rows.append(
        (
            "accuracy on the others",
            str(verdict.others_images),
            _or_dash(verdict.weak_others_accuracy),
            _or_dash(verdict.current_others_accuracy),
            _or_dash(verdict.others_accuracy),
            "",
            "",
        )
    )
    table(
        f"{verdict.fixed} answers fixed, {verdict.broken} broken",
        ("", "images", "weak", "in use", "this one", "gain over weak", "McNemar p"),
        rows,
    )


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
