"""``patchbay bench serving``: the service over HTTP, beside its peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks.serving.settings import PEERS
from patchbay import options, serving_bench
from patchbay.bench_figures import drawing_options, figure_options

_TOY = {"rounds": 1, "window_seconds": 0.3, "clients": (1, 4)}


class PeerNames(options.CommaSeparated):
    """Other servers with commas between them, each kept once; ``none`` for none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The names, in the order given."""
        names = super().convert(value, param, ctx)
        if names == ("none",):
            return ()
        if unknown := [name for name in names if name not in PEERS]:
            known = ", ".join(PEERS)
            self.fail(f"{unknown[0]!r} is not one of {known}; or none alone", param, ctx)
        return tuple(dict.fromkeys(names))


@click.command(short_help="Measure the service over HTTP, beside other servers.")
@click.option(
    "--rounds",
    type=click.IntRange(1, 1000),
    default=8,
    show_default="8; 1 with --toy",
    help="Windows of each row; what is compared alternates. With fewer than 5 no aim is judged.",
)
@click.option(
    "--window",
    "window_seconds",
    type=options.FiniteRange(0.1, 60),
    default=2.0,
    show_default="2; 0.3 with --toy",
    metavar="SECONDS",
    help="Length of a window.",
)
@click.option(
    "--clients",
    type=options.Counts(1024),
    default="1,8,32",
    show_default="1,8,32; 1,4 with --toy",
    help="Clients at a time, each of which asks again as soon as it has its answer.",
)
@click.option(
    "--peers",
    type=PeerNames(),
    default=",".join(PEERS),
    show_default=True,
    help="Other servers of the same model, measured beside it: `mlflow models serve`, a plain "
    "Starlette application, LitServe; or none.",
)
@drawing_options
@figure_options
def serving(
    rounds: int,
    window_seconds: float,
    clients: tuple[int, ...],
    peers: tuple[str, ...],
    pictures: Path | None,
    figures: Path | None,
    toy: bool,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure requests a second, latency, processor time and memory of the service on this machine.

    A quarter-width SimCNN with one class module, both with random weights, is registered in a
    temporary home and served on one core; the load comes from another. It is asked for patched
    answers, for the weak model's alone, with more requests than it can answer, and beside
    other servers of the same model. Takes some twelve minutes, with --toy one.
    """
    asked: dict[str, Any] = {
        "rounds": rounds,
        "window_seconds": window_seconds,
        "clients": clients,
        "peers": peers,
        "seed": seed,
    }
    if figures is not None:
        for option in options.given("toy", "out", *asked):
            raise click.UsageError(f"{option} goes with a measurement, not with --figures")
        found = serving_bench.read(figures)
    else:
        if toy:
            asked |= {name: one for name, one in _TOY.items() if not options.given(name)}
        found = serving_bench.measure(asked, out, toy=toy)
    serving_bench.show(found, pictures, out, as_json=as_json)
