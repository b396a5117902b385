"""What benchmarks of the service share: options, and the file that their figures go to."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from patchbay import options
from patchbay.console import say


def figure_options(command: options.Command) -> options.Command:
    """The options ``--toy``, ``--seed``, ``--out`` and ``--json``."""
    for option in (
        options.as_json,
        click.option(
            "--out",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Write everything that was measured into this file, too, as JSON.",
        ),
        click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True),
        click.option(
            "--toy",
            is_flag=True,
            help="Tiny networks, to see it work; its figures say nothing.",
        ),
    ):
        command = option(command)
    return command


def drawing_options(command: options.Command) -> options.Command:
    """The options ``--pictures`` and ``--figures``."""
    for option in (
        click.option(
            "--figures",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="Show what a file of --out holds, such as another machine's; measure nothing.",
        ),
        click.option(
            "--pictures",
            type=click.Path(path_type=Path, file_okay=False),
            help="Draw what was measured into this folder.",
        ),
    ):
        command = option(command)
    return command


def read_figures(figures: Path, benchmark: str, parts: Collection[str]) -> dict[str, Any]:
    """What was measured before.

    Args:
        figures: a file of ``--out``.
        benchmark: what it has to be of, such as ``serving``.
        parts: names that its figures have.

    Raises:
        click.ClickException: if the file holds something else.
    """
    try:
        found = json.loads(figures.read_text())
        if found.keys() >= set(parts):
            return dict(found)
    except (ValueError, AttributeError):
        pass
    raise click.ClickException(f"expected figures of patchbay bench {benchmark} in {figures}")


def draw(
    found: Mapping[str, Any],
    pictures: Path | None,
    drawn_by: Callable[[Mapping[str, Any], Path], list[Path]],
) -> list[Path]:
    """Draw the figures into the folder, if there is one; gives the files."""
    if pictures is None:
        return []
    pictures.mkdir(parents=True, exist_ok=True)
    return drawn_by(found, pictures)


def say_drawn(drawn: Sequence[Path]) -> None:
    """Tell a person which they are."""
    for path in drawn:
        say(f"drawn: {path}")


def require_writable(out: Path | None) -> None:
    """Make the file, before minutes of work and not after them; an `OSError` says why not."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.touch()


def keep(found: Mapping[str, Any], out: Path | None) -> None:
    """Write the figures, JSON values, into the file if there is one."""
    if out is not None:
        out.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")


def say_kept(out: Path | None) -> None:
    """Tell a person where they are."""
    if out is not None:
        say(f"kept in {out}")
