"""``patchbay rollback`` and ``history``: an alias goes back a step, and all its moves are shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from patchbay import options
from patchbay.console import emit, say, table
from patchbay.session import open_registry

if TYPE_CHECKING:
    from registry.history import Move, Stand


@click.command(short_help="Move an alias back to the version before.")
@click.argument("name")
@options.alias
@click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")
@options.home
@options.as_json
def rollback(name: str, alias: str, reason: str, home: Path | None, as_json: bool) -> None:
    """Point an alias of the model NAME at the version that it stood for before.

    Once more goes back once more, through all that `patchbay history NAME` shows.
    """
    name = _bare(name)
    registry = open_registry(home, reads_only=True)
    came_from, version = registry.aliases.rollback(name, alias, reason=reason.strip())
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
    name = _bare(name)
    registry = open_registry(home, reads_only=True)
    moves = registry.aliases.history(name, alias)
    if as_json:
        emit([_move_as_json(move) for move in moves])
        return
    if not moves:
        which = "No alias" if alias is None else f"No alias '{alias}'"
        say(f"{which} of {name} was moved yet.")
        return
    table(
        f"Moves of the aliases of {name}",
        ("when (UTC)", "alias", "what", "version", "who", "gate", "why"),
        [
            (
                f"{move.when:%Y-%m-%d %H:%M:%S}",
                move.alias,
                move.action + ("" if move.is_done else " (not done)"),
                f"{_version(move.before) or 'none'} > {_version(move.after) or 'none'}",
                move.who,
                _gate(move),
                move.reason,
            )
            for move in moves
        ],
        left=7,
    )


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
        "before": _version(move.before),
        "after": _version(move.after),
        "who": move.who,
        "when": move.when.isoformat(),
        "reason": move.reason,
        "forced": move.forced,
        "gate": move.verdict,
        "run_id": move.run_id,
        "done": move.is_done,
    }


def _version(stand: Stand | None) -> int | None:
    return None if stand is None else stand.version


def _bare(name: str) -> str:
    """A name as it is, also where ``models:/NAME`` was given.

    Raises:
        AddressError: if it is none; an address of one version is told from a typing error.
    """
    from registry.errors import AddressError
    from registry.naming import parse_address, require_name

    try:
        meant = parse_address(name).name
    except AddressError:
        return require_name(name.removeprefix("models:/"))
    raise AddressError(f"expected a model's name, such as {meant}; found the address {name!r}")
