"""``patchbay check`` and ``patchbay delete``: what is broken, what is left over, what may go."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from patchbay import options
from patchbay.console import emit, progress_bars, say, table
from patchbay.session import open_registry


@click.command(short_help="Find what is broken, and clear what is left over.")
@click.option("--dry-run", is_flag=True, help="Only look; clear nothing.")
@click.option(
    "--quick",
    is_flag=True,
    help="Don't load the versions, which takes a tenth of a second each: look for leftovers and "
    "for unreadable tags alone.",
)
@options.home
@options.as_json
def check(dry_run: bool, quick: bool, home: Path | None, as_json: bool) -> None:
    """Load every version from the store, and clear what killed processes have left behind.

    Versions are never removed: one that doesn't load is named with the reason, and the exit code
    is 1. What a living process is at is left alone; what was begun on another machine is taken
    for left over after a day.

    \b
    --json prints
      versions   how many there are
      broken     uri and reason of each that doesn't load
      leftovers  what, which and why of each that was found
      cleared    those of them that are gone now, likewise
    """  # noqa: D301
    registry = open_registry(home, reads_only=True)
    from modularizer.progress import Progress

    with progress_bars(quiet=as_json) as bar:
        told = bar("check")
        report = registry.check(
            clear=not dry_run,
            load=not quick,
            progress=lambda done, total: told(Progress("versions", done, total)),
        )
    if as_json:
        emit(
            {
                "versions": report.versions,
                "broken": [asdict(one) for one in report.broken],
                "leftovers": [asdict(one) for one in report.leftovers],
                "cleared": [asdict(one) for one in report.cleared],
            }
        )
    else:
        loaded = "" if quick else f", {report.versions - len(report.broken)} load"
        say(f"{_count(report.versions, 'version')}{loaded}.")
        for one in report.broken:
            say(f"Broken: {one.uri}: {one.reason}")
        if report.leftovers:
            table(
                f"{_count(len(report.leftovers), 'leftover')}, {len(report.cleared):,} cleared",
                ("what", "which", "why"),
                [(one.what, one.which, one.why) for one in report.leftovers],
                left=3,
            )
        else:
            say("Nothing is left over.")
    if report.broken:
        raise SystemExit(1)


@click.command(short_help="Delete a version that nobody uses.")
@click.argument("uri")
@click.option("--drop-aliases", is_flag=True, help="Take its aliases away first; needs --reason.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")
@options.home
@options.as_json
def delete(uri: str, drop_aliases: bool, reason: str, home: Path | None, as_json: bool) -> None:
    """Delete the version URI and its files.

    What another version was made from, or an alias stands for, is not deleted: the message names
    who uses it. The runs that made it stay on record.
    """
    if drop_aliases and not reason.strip():
        raise click.UsageError("--drop-aliases needs a --reason, which goes on record")
    registry = open_registry(home, addresses=[uri], reads_only=True)
    version = registry.delete(uri, drop_aliases=drop_aliases, reason=reason.strip())
    if as_json:
        emit({"uri": version.uri, "digest": version.digest})
        return
    say(f"{version.uri} is deleted.")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
