"""``patchbay promote``, ``rollback`` and ``history``: an alias moves through a gate, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modularizer.settings import GateSettings
from patchbay import options
from patchbay.console import emit, facts, say, table
from patchbay.session import load_splits, open_registry

if TYPE_CHECKING:
    from modularizer.gate import Verdict
    from patchbay.gating import Judgement
    from registry.history import Move
    from registry.registry import Registry
    from registry.version import UnreadVersion, Version

REFUSED = 4
"""Exit code where the gate refuses; as of `patchbay patch` where nothing gains."""

alias_option = click.option(
    "--alias", default="champion", show_default=True, help="The alias to move."
)


@click.command(short_help="Move an alias to a version, through a gate.")
@click.argument("model")
@alias_option
@options.optional_splits
@click.option(
    "--split",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="Which images of --data judge: test, those that neither fitted nor chose the patch; or "
    "validation.",
)
@options.settings_of(GateSettings)
@click.option("--force", is_flag=True, help="Move it even if the gate refuses; needs --reason.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")
@options.common
def promote(
    model: str,
    alias: str,
    source: str | None,
    split: Any,
    force: bool,
    reason: str,
    size: int | None,
    data_seed: int,
    threads: int,
    home: Path | None,
    as_json: bool,
    **thresholds: Any,
) -> None:
    """Point an alias at MODEL, if it is better than what is in use.

    A patched model is judged with the version that the alias stands for now, on the same images:
    each patched class has to gain over the weak model, and neither other classes nor patched ones
    may lose more than --max-loss. Without --data it is judged by the evidence that was stored
    with both versions. What is refused stays where it is (exit code 4). Models of other kinds
    have no gate. Every move is on record: `patchbay history`.
    """
    options.require_data(source, "split")
    if force and not reason.strip():
        raise click.UsageError("--force needs a --reason, which goes on record")
    registry = open_registry(home, threads=threads, addresses=[model], reads_only=True)
    version = registry.find(model)
    current = registry.standing(version.name, alias)
    if current is not None and current.version == version.version:
        _tell_nothing_moved(version, alias, as_json=as_json)
        return
    judged = None
    if version.kind == "patched":
        settings = GateSettings(**thresholds)
        judged = _judge(registry, version, current, source, split, size, data_seed, settings)
        if not as_json:
            _show_judgement(version, judged, settings)
    refused = judged is not None and not judged.passed
    if not refused or force:
        registry.promote(
            version.uri,
            alias,
            reason=reason.strip(),
            forced=refused,
            verdict=None if judged is None else judged.as_json(),
        )
    if as_json:
        emit(
            {
                "uri": version.uri,
                "alias": alias,
                "previous": current and current.uri,
                "promoted": not refused or force,
                "forced": refused and force,
                "reason": reason.strip(),
                "gate": judged and judged.as_json(),
            }
        )
    elif not refused or force:
        came_from = f", from {current.uri}" if current else ""
        say(f"models:/{version.name}@{alias} is now {version.uri}{came_from}")
    if refused and not force:
        if not as_json:
            say(f"models:/{version.name}@{alias} stays {current.uri if current else 'unset'}")
        raise SystemExit(REFUSED)


@click.command(short_help="Move an alias back to the version before.")
@click.argument("name")
@alias_option
@click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")
@options.home
@options.as_json
def rollback(name: str, alias: str, reason: str, home: Path | None, as_json: bool) -> None:
    """Point an alias of the model NAME at the version that it stood for before.

    Once more goes back once more, through all that `patchbay history NAME` shows.
    """
    registry = open_registry(home, reads_only=True)
    came_from, version = registry.rollback(_bare(name), alias, reason=reason.strip())
    if as_json:
        emit({"uri": version.uri, "alias": alias, "previous": came_from.uri})
        return
    say(f"models:/{version.name}@{alias} is {version.uri} again, back from {came_from.uri}")


@click.command(short_help="Show who moved which alias when, why and by which evidence.")
@click.argument("name")
@click.option("--alias", help="Of this alias alone.")
@options.home
@options.as_json
def history(name: str, alias: str | None, home: Path | None, as_json: bool) -> None:
    """Show the moves of the aliases of the model NAME, the oldest first."""
    registry = open_registry(home, reads_only=True)
    moves = registry.history(_bare(name), alias)
    if as_json:
        emit([_move_as_json(move) for move in moves])
        return
    if not moves:
        say(f"No alias of {_bare(name)} was moved yet.")
        return
    table(
        f"Moves of the aliases of {_bare(name)}",
        ("when (UTC)", "alias", "what", "version", "who", "gate", "why"),
        [
            (
                f"{move.when:%Y-%m-%d %H:%M:%S}",
                move.alias,
                move.action + ("" if move.is_done else " (not done)"),
                f"{move.before or 'none'} > {move.after or 'none'}",
                move.who,
                _gate(move),
                move.reason,
            )
            for move in moves
        ],
        left=7,
    )


def _judge(
    registry: Registry,
    version: Version,
    current: Version | UnreadVersion | None,
    source: str | None,
    split: Any,
    size: int | None,
    data_seed: int,
    settings: GateSettings,
) -> Judgement:
    from patchbay.gating import judge_by_evidence, judge_by_images

    if source is None:
        return judge_by_evidence(registry, version, current, settings)
    data = load_splits(source, seed=data_seed, size=size, classes=version.class_names)
    return judge_by_images(registry, version, current, data, split, settings)


def _show_judgement(version: Version, judged: Judgement, settings: GateSettings) -> None:
    against = judged.compared_with or "nothing in use yet"
    facts(
        f"The gate for {version.uri}",
        [
            ("judged by", judged.basis),
            ("compared with", against),
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


def _tell_nothing_moved(version: Version, alias: str, *, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "uri": version.uri,
                "alias": alias,
                "previous": version.uri,
                "promoted": False,
                "forced": False,
                "reason": "",
                "gate": None,
            }
        )
        return
    say(f"models:/{version.name}@{alias} is {version.uri} already")


def _gate(move: Move) -> str:
    if move.verdict is None:
        return ""
    if move.forced:
        return "refused, forced"
    return "passed" if move.verdict.get("passed") else "refused"


def _move_as_json(move: Move) -> dict[str, Any]:
    return {
        "name": move.name,
        "alias": move.alias,
        "action": move.action,
        "before": move.before,
        "after": move.after,
        "who": move.who,
        "when": move.when.isoformat(),
        "reason": move.reason,
        "forced": move.forced,
        "gate": move.verdict,
        "run_id": move.run_id,
        "done": move.is_done,
    }


def _bare(name: str) -> str:
    """A name as it is, also where ``models:/NAME`` was given."""
    return name.removeprefix("models:/")
