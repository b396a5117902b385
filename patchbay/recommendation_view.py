"""Recommended patches as a person sees them, as JSON, and as the command that makes them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from patchbay import comparison
from patchbay.console import say, table

if TYPE_CHECKING:
    from modularizer.recommending import Measured
    from patchbay.candidates import Scored
    from patchbay.recommendations import Instead, Offer, Report

_MOST_LETTERS = 30


def patch_command(weak_uri: str, measured: Measured, name: str, options: Sequence[str]) -> str:
    """The line that registers these patches.

    Args:
        weak_uri: of the weak model.
        measured: which patches.
        name: to register them under.
        options: by which data, registry and rule are those that they were measured with.
    """
    parts = [part for one in measured.members for part in ("--with", one.address)]
    return shlex.join(["patchbay", "patch", weak_uri, *parts, "--name", name, *options])


def _offer_json(place: int, offer: Offer, weak_uri: str) -> dict[str, Any]:
    found = offer.recommendation
    return {
        "rank": place,
        "modules": [_module_json(one, weak_uri) for one in offer.scored],
        "rule": str(found.judged.name),
        "macro_f1_gain": found.measured.macro_f1_gain,
        "macro_f1_gain_interval": [found.macro_f1_interval.low, found.macro_f1_interval.high],
        "may_be_chance": found.may_be_chance,
        "others_loss": found.measured.others_loss,
        "targets": [comparison.as_json(one) for one in found.judged.evaluations],
        "cost": offer.cost,
        "latency": asdict(offer.latency),
        "command": offer.command,
    }


def _left_out_json(report: Report) -> list[dict[str, Any]]:
    from modularizer.recommending import OBSTACLES

    scored = {one.candidate.address: one for one in report.scored}
    return [
        {
            **_module_json(scored[one.members[0].address], report.weak.uri),
            "rule": None if one.rule is None else str(one.rule),
            "macro_f1_gain": one.macro_f1_gain,
            "others_loss": one.others_loss,
            "reason": "" if one.obstacle is None else OBSTACLES[one.obstacle],
        }
        for one in report.ranking.left_out
    ]


def _module_json(one: Scored, weak_uri: str) -> dict[str, Any]:
    return {
        "uri": one.fitting.version.uri,
        "class_name": one.fitting.class_name,
        "module_class": one.fitting.version.class_names[0],
        "strong_uri": one.fitting.strong_uri,
        "of_the_weak_model": one.fitting.strong_uri == weak_uri,
        "cost": one.cost,
    }


def _instead_json(one: Instead) -> dict[str, Any]:
    """A strong model in the weak one's place, as JSON values; ``patched`` is the strong model."""
    return {
        "uri": one.version.uri,
        "better_on_each_class": one.found.is_better_on_each,
        "macro_f1": one.found.macro_f1,
        "weak_macro_f1": one.found.weak_macro_f1,
        "accuracy": one.found.accuracy,
        "multiply_adds": int(one.version.metrics.get("multiply_adds", 0)),
        "targets": [comparison.as_json(each) for each in one.found.evaluations],
    }


def report_json(report: Report, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A report as JSON values.

    Args:
        report: what was found.
        settings: the command's that the report does not hold.
    """
    from modularizer.macro_f1 import macro_f1

    task, asked = report.task, report.asked
    return {
        "uri": report.weak.uri,
        "split": "validation",
        "images": len(task.labels),
        "data": {"source": report.data_source, "fingerprint": report.fingerprint},
        "settings": {
            **settings,
            "classes": list(asked.classes),
            "max_others_loss": asked.max_others_loss,
            "all_versions": asked.all_versions,
            "shortlist": asked.shortlist,
        },
        "weak": {
            "accuracy": float((task.weak_predicted == task.labels).mean()),
            "macro_f1": macro_f1(task.labels, task.weak_predicted),
            "latency": asdict(report.weak_latency),
        },
        "listed": report.listed,
        "fitting": report.fitting,
        "scored": len(report.scored),
        "recommended": len(report.ranking.best_first),
        "recommendations": [
            _offer_json(place, one, report.weak.uri) for place, one in enumerate(report.offers, 1)
        ],
        "left_out": _left_out_json(report),
        "unusable": [{"uri": uri, "reason": why} for uri, why in report.unusable.items()],
        "strong_models": [_instead_json(one) for one in report.strong],
        "instead": None if report.instead is None else report.instead.version.uri,
        "warnings": list(report.warnings),
    }


def show_offers(report: Report) -> None:
    """A table of offers that fits a terminal of 100 columns, the best first."""
    offers, weak = report.offers, report.weak_latency
    count = len(report.ranking.best_first)
    which = f"the {len(offers)} best of {count:,}" if count > len(offers) else "the best first"
    table(
        f"Patches for {report.weak.uri} on {len(report.task.labels):,} validation images, {which}",
        (
            "patch\nby the rule",
            "F1 gain",
            "macro F1 gain\n95 % interval",
            "others",
            "kernels\nmult-adds",
            "weights\nlatency",
        ),
        [_row(one, report) for one in offers],
    )
    say(
        "? The interval of the gain reaches 0: on these images it may be chance.\n"
        "others: what the accuracy on the classes that are not patched gains.\n"
        f"latency: for one image, added to the weak model's {weak.median_ms:.2f} ms; medians of "
        f"{weak.n}, taken in turn.\n"
        f"The best of what {len(report.scored):,} class modules give on the same images looks "
        "better than it is; `patchbay\nevaluate` judges the one you take on held-out ones."
    )
    say()


def show_left_out(report: Report) -> None:
    """How many modules are not recommended alone, and why."""
    from modularizer.recommending import OBSTACLES

    counts = Counter(one.obstacle for one in report.ranking.left_out)
    for obstacle, why in OBSTACLES.items():
        if counts[obstacle]:
            say(f"Left out, {counts[obstacle]:,}: {why}.")


def show_instead(one: Instead) -> None:
    """That the strong model itself is better, with numbers."""
    say(
        f"Use the strong model instead: {one.version.uri} has all classes of the weak one and is "
        "better on each."
    )
    comparison.show_comparison(
        f"{one.version.uri}, answers restricted to these classes",
        one.found.evaluations,
        sides="weak > strong",
    )


def _row(offer: Offer, report: Report) -> tuple[str, ...]:
    found, cost, weak_uri = offer.recommendation, offer.cost, report.weak.uri
    all_patched = len(offer.scored) == len(report.weak.class_names)
    interval = found.macro_f1_interval
    return (
        "\n".join([*(_module(one, weak_uri) for one in offer.scored), f"  {found.judged.name}"]),
        "\n".join(
            f"{one.patched.f1 - one.weak.f1:+.3f}{_mark(doubtful=comparison.may_be_chance(one))}"
            for one in found.judged.evaluations
        ),
        f"{found.measured.macro_f1_gain:+.4f}{_mark(doubtful=found.may_be_chance)}\n"
        f"{interval.low:+.3f} to {interval.high:+.3f}",
        "-" if all_patched else f"{0 - found.measured.others_loss:+.3f}",
        f"{cost['kernels']:,}\n{_scaled(cost['multiply_adds'], 1000, ('', 'k', 'M', 'G'))}",
        f"{_scaled(cost['weights_bytes'], 1024, (' B', ' KiB', ' MiB', ' GiB'))}\n"
        f"{offer.latency.median_ms - report.weak_latency.median_ms:+.2f} ms",
    )


def _module(one: Scored, weak_uri: str) -> str:
    own = " (its own)" if one.fitting.strong_uri == weak_uri else ""
    name = one.fitting.version.uri.removeprefix("models:/")
    room = _MOST_LETTERS - len(own)
    return f"{name if len(name) <= room else f'{name[: room - 15]}...{name[-12:]}'}{own}"


def _mark(*, doubtful: bool) -> str:
    return "?" if doubtful else " "


def _scaled(count: int, base: int, units: Sequence[str]) -> str:
    value, place = float(count), 0
    while value >= base and place < len(units) - 1:
        value, place = value / base, place + 1
    return f"{value:.{0 if place == 0 or value >= 100 else 1}f}{units[place]}"
