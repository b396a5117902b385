"""``patchbay bench serving``: the service over HTTP, beside its peers."""

from __future__ import annotations

from pathlib import Path

import click

from patchbay import options, serving_bench
from patchbay.bench_figures import figure_options


@click.command(short_help="Measure the service over HTTP, beside MLflow's.")
@click.option(
    "--rounds",
    type=click.IntRange(1, 1000),
    default=8,
    show_default=True,
    help="Windows of each row; what is compared alternates. With fewer than 5 no aim is judged.",
)
@click.option(
    "--window",
    "window_seconds",
    type=options.FiniteRange(0.1, 60),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Length of a window.",
)
@click.option(
    "--clients",
    type=options.Counts(1024),
    default="1,8,32",
    show_default=True,
    help="Clients at a time, each of which asks again as soon as it has its answer.",
)
@click.option(
    "--mlflow/--no-mlflow",
    "with_mlflow",
    default=True,
    show_default=True,
    help="Measure `mlflow models serve` of the same model beside it.",
)
@figure_options
def serving(
    rounds: int,
    window_seconds: float,
    clients: tuple[int, ...],
    with_mlflow: bool,
    toy: bool,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure requests a second, latency, processor time and memory of the service on this machine.

    A quarter-width SimCNN with one class module, both with random weights, is registered in a
    temporary home and served on one core; the load comes from another. It is asked for patched
    answers, for the weak model's alone, with more requests than it can answer, and beside
    MLflow's own server of the same model. Takes ten minutes.
    """
    asked = serving_bench.Asked(
        rounds=rounds,
        window_seconds=window_seconds,
        clients=clients,
        with_mlflow=with_mlflow,
        toy=toy,
        seed=seed,
        out=out,
        as_json=as_json,
    )
    serving_bench.run(asked)
