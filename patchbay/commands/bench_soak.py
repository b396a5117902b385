"""``patchbay bench soak``: the service under load for minutes, while everything moves."""

from __future__ import annotations

from pathlib import Path

import click

from patchbay import options, soak_bench
from patchbay.bench_figures import figure_options


@click.command(short_help="Keep the service busy while its alias moves and models come and go.")
@click.option(
    "--minutes",
    type=options.FiniteRange(0.05, 10),
    default=10.0,
    show_default=True,
    help="Of load; the alias moves every 20 seconds, a class module comes or goes every two. "
    "Whether memory grows is not judged by fewer than some three and a half.",
)
@click.option(
    "--load",
    "load_share",
    type=options.FiniteRange(0.01, 2),
    default=0.8,
    show_default=True,
    metavar="SHARE",
    help="Of what the service answers in a second at best, which is measured first.",
)
@figure_options
def soak(
    minutes: float, load_share: float, toy: bool, seed: int, out: Path | None, as_json: bool
) -> None:
    """Ask the service for minutes on end and hold every answer against the offline one.

    Three patched versions of quarter-width SimCNNs with random weights are registered in a
    temporary home and served on one core; the load comes from another. An answer is right if
    the version that it names says the same offline. The exit code is 6 if any request failed,
    any answer was wrong, a move was not followed, or memory grew by 5 % or more.
    """
    asked = soak_bench.Asked(
        seconds=60 * minutes,
        load_share=load_share,
        toy=toy,
        seed=seed,
        out=out,
        as_json=as_json,
    )
    if not soak_bench.run(asked):
        raise SystemExit(soak_bench.MISSED)
