"""``patchbay promote``: move an alias."""

from __future__ import annotations

from pathlib import Path

import click

from patchbay import options
from patchbay.console import emit, say
from patchbay.session import open_registry


@click.command(short_help="Move an alias to a version.")
@click.argument("model")
@click.option("--alias", default="champion", show_default=True, help="The alias to move.")
@options.home
@options.as_json
def promote(model: str, alias: str, home: Path | None, as_json: bool) -> None:
    """Point an alias at MODEL, a version of any kind. No gate yet: look at the evidence first."""
    registry = open_registry(home, addresses=[model], reads_only=True)
    version = registry.find(model)
    previous = registry.promote(version.uri, alias)
    if as_json:
        before = previous.uri if previous else None
        emit({"uri": version.uri, "alias": alias, "previous": before})
        return
    came_from = f", from {previous.uri}" if previous else ""
    say(f"models:/{version.name}@{alias} is now {version.uri}{came_from}")
