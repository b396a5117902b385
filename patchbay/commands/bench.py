"""``patchbay bench``: measure it yourself."""

from __future__ import annotations

import click

from patchbay.commands.bench_paper import paper
from patchbay.commands.bench_search import search


@click.group(short_help="Measure the search, and repeat the paper's experiment.")
def bench() -> None:
    """Measure: the search and its choices; how much better patches make weak models."""


bench.add_command(search)
bench.add_command(paper)
