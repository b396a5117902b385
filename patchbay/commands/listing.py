"""``patchbay list``: what the registry holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from patchbay import options, show_view
from patchbay.console import emit, say, table
from patchbay.session import open_registry

if TYPE_CHECKING:
    from registry.version import Version

_KINDS = ("strong", "weak", "class_module", "patched")
_MOST_CLASSES = 8


@click.command("list", short_help="List what the registry holds.")
@click.option("--kind", type=click.Choice(_KINDS), help="Only versions of this kind.")
@click.option("--name", metavar="TEXT", help="Only versions with this in their name.")
@click.option(
    "--class", "class_name", metavar="CLASS", help="Only versions that score or patch this class."
)
@options.home
@options.as_json
def list_versions(
    kind: Any, name: str | None, class_name: str | None, home: Path | None, as_json: bool
) -> None:
    """List registered versions: strong, weak, class modules and patched models."""
    everything = open_registry(home, reads_only=True).versions(kind)
    versions = [one for one in everything if _is_wanted(one, name, class_name)]
    if as_json:
        emit([show_view.row(version) for version in versions])
        return
    if not versions:
        if everything or kind or name or class_name:
            say("The registry holds no such version; `patchbay list` shows what it holds.")
        else:
            say("The registry holds no version yet; `patchbay demo` fills it with an example.")
        return
    table(
        f"{len(versions):,} version{'s' if len(versions) > 1 else ''}",
        ("name", "version", "kind", "aliases", "classes", "patches", "made"),
        [
            (
                version.name,
                str(version.version),
                version.kind,
                ", ".join(version.aliases),
                _shortened(version.class_names),
                _shortened(version.patched_classes),
                f"{version.created:%Y-%m-%d %H:%M}",
            )
            for version in versions
        ],
        left=7,
    )


def _is_wanted(version: Version, name: str | None, class_name: str | None) -> bool:
    if name is not None and name not in version.name:
        return False
    return class_name is None or class_name in version.class_names


def _shortened(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_CLASSES} more" if len(names) > _MOST_CLASSES else ""
    return ", ".join(names[:_MOST_CLASSES]) + more
