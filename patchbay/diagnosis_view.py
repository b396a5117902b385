"""A diagnosis as a person sees it: a table by class, the costliest confusions, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from patchbay.console import say, table

if TYPE_CHECKING:
    from modularizer.diagnosis import ClassDiagnosis, Diagnosis
    from modularizer.metrics import Interval
    from registry.diagnoses import StoredDiagnosis

_MARK = "* patch"
_MOST_LETTERS = 18
_MOST_STORED = 2


def show_diagnosis(title: str, diagnosis: Diagnosis, *, most_confusions: int) -> None:
    """Tables of a diagnosis that fit a terminal of 100 columns, the weakest class first.

    Args:
        title: what was diagnosed, on what.
        diagnosis: the numbers.
        most_confusions: how many confusions to show.
    """
    table(
        title,
        ("class", "", "images", "answered", "precision", "recall", "F1", "95 % interval"),
        [_row(one) for one in diagnosis.weakest_first()],
        left=2,
    )
    say(
        f"Macro F1 {diagnosis.macro_f1:.3f} ({_ends(diagnosis.macro_f1_interval)}), accuracy "
        f"{diagnosis.accuracy:.3f} ({_ends(diagnosis.accuracy_interval)})."
    )
    say(verdict(diagnosis))
    say()
    _show_confusions(diagnosis, most_confusions)


def verdict(diagnosis: Diagnosis) -> str:
    """Which classes are worth a patch, and by which rule."""
    margin = f"{diagnosis.margin:g}"
    count = len(diagnosis.worth_patching)
    if not count:
        return (
            "No class is worth a patch: none has, with 95 % confidence, an F1 that is more than "
            f"{margin}\nbelow the mean of the others."
        )
    return (
        f"{count} {'class is' if count == 1 else 'classes are'} worth a patch (*): with 95 % "
        f"confidence the F1 is more than {margin}\nbelow the mean of the others."
    )


def next_steps(diagnosis: Diagnosis, uri: str, options: Sequence[str]) -> list[tuple[str, str]]:
    """For each class that is worth a patch, the command that looks for one.

    Args:
        diagnosis: the numbers.
        uri: the version that was diagnosed.
        options: those by which its data was read.

    Returns:
        (class, command) each.
    """
    command = shlex.join(["patchbay", "recommend", uri, *options])
    return [(name, command) for name in diagnosis.worth_patching]


def stored_rows(found: Sequence[StoredDiagnosis]) -> list[tuple[str, str]]:
    """The newest diagnoses of a version as facts, a line each; none where there is none."""
    rows = [("diagnosed", _line(one)) for one in found[:_MOST_STORED]]
    more = len(found) - len(rows)
    return [*rows, ("", f"and {more} earlier")] if more else rows


def stored_json(one: StoredDiagnosis) -> dict[str, Any]:
    """A stored diagnosis as JSON values."""
    return {
        "run_id": one.run_id,
        "created": one.created.isoformat(),
        "user": one.user,
        "split": one.split,
        "data": {"source": one.data_source, "fingerprint": one.data_fingerprint},
        "images": one.images,
        "accuracy": one.accuracy,
        "macro_f1": one.macro_f1,
        "worth_patching": list(one.worth_patching),
        "worth_patching_count": one.worth_patching_count,
    }


def _line(one: StoredDiagnosis) -> str:
    names = ", ".join(one.worth_patching) or "no class"
    more = one.worth_patching_count - len(one.worth_patching)
    return (
        f"{one.created:%Y-%m-%d %H:%M} UTC by {one.user}, {one.images:,} {one.split} images of "
        f"{one.data_source}: macro F1 {one.macro_f1:.3f}, accuracy {one.accuracy:.3f}, worth a "
        f"patch: {names}{f' and {more} more' if more else ''}; run {one.run_id}"
    )


def _row(one: ClassDiagnosis) -> tuple[str, ...]:
    return (
        _short(one.class_name),
        _MARK if one.worth_patching else "" if one.support else "no image",
        f"{one.support:,}",
        f"{one.answered:,}",
        *(_number(value) for value in (one.precision, one.recall, one.f1)),
        _ends(one.f1_interval),
    )


def _show_confusions(diagnosis: Diagnosis, most: int) -> None:
    shown = diagnosis.confusions[:most]
    if not shown:
        return
    count = len(diagnosis.confusions)
    which = (
        f"The {len(shown)} costliest of {count:,} confusions"
        if count > len(shown)
        else ("Confusions, the costliest first")
    )
    table(
        which,
        ("class", "answered with", "images", "of the class", "cost"),
        [
            (
                _short(one.true_class),
                _short(one.answered_class),
                f"{one.count:,}",
                f"{one.share:.3f}",
                f"{one.macro_f1_cost:.4f}",
            )
            for one in shown
        ],
        left=2,
    )
    say("Cost: what macro F1 would gain if just these images were answered right.")
    say()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _ends(spread: Interval | None) -> str:
    return "-" if spread is None else f"{spread.low:.3f} to {spread.high:.3f}"


def _short(name: str) -> str:
    """A name that leaves the other columns their room; what differs is often at the end."""
    if len(name) <= _MOST_LETTERS:
        return name
    return f"{name[: _MOST_LETTERS - 10]}...{name[-7:]}"
