"""What benchmarks of the service share: options, and the file that their figures go to."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
