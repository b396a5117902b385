"""``patchbay bench``: measure it yourself."""

from __future__ import annotations

import click

from patchbay.commands.bench_search import search


@click.group(short_help="Measure the search on this machine.")
def bench() -> None:
    """Measure: the search, its parts, and what each of its choices is worth."""


bench.add_command(search)
