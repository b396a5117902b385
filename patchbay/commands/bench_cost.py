"""``patchbay bench cost``: what networks cost, counted."""

from __future__ import annotations

from pathlib import Path

import click

from patchbay import cost_bench, options
from patchbay.bench_figures import figure_options


@click.command(short_help="Count what class modules cost beside their strong model.")
@click.argument("model", required=False)
@click.option(
    "--width",
    type=options.FiniteRange(0.05, 1),
    default=1.0,
    show_default=True,
    help="Of the reference networks, as a share of the paper's.",
)
@click.option(
    "--decompositions",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Show what this protocol.json of patchbay bench paper counted, too.",
)
@options.home
@figure_options
def cost(
    model: str | None,
    width: float,
    decompositions: Path | None,
    home: Path | None,
    toy: bool,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Count kernels, parameters, multiply-adds and bytes, beside the paper's figures.

    MODEL is the address of a strong model: it and the newest class module of each of its
    classes are counted. Without MODEL the paper's two networks are, with random weights, taken
    apart by random masks that keep as many kernels as the paper reports; nothing is trained.
    """
    if model is not None and (refused := options.given("width", "toy", "seed")):
        raise click.UsageError(f"{refused[0]} is of the reference networks and goes without MODEL")
    if model is None and options.given("home"):
        raise click.UsageError("--home goes with MODEL")
    if toy and options.given("width"):
        raise click.UsageError("--toy has a width of its own and goes without --width")
    asked = cost_bench.Asked(model, 0.05 if toy else width, seed, decompositions, home)
    cost_bench.run(asked, out, as_json=as_json)
