"""``patchbay bench``: measure it yourself."""

from __future__ import annotations

import click

from patchbay.commands.bench_cost import cost
from patchbay.commands.bench_growth import memory_growth
from patchbay.commands.bench_inference import inference
from patchbay.commands.bench_paper import paper
from patchbay.commands.bench_search import search
from patchbay.commands.bench_serving import serving
from patchbay.commands.bench_soak import soak


@click.group(short_help="Measure the search, networks, the service; repeat the paper's experiment.")
def bench() -> None:
    """Measure: the search, what patches bring and what they cost, the service."""


bench.add_command(search)
bench.add_command(paper)
bench.add_command(inference)
bench.add_command(cost)
bench.add_command(serving)
bench.add_command(soak)
bench.add_command(memory_growth)
