"""``patchbay bench memory-growth``: how cost grows as work grows."""

from __future__ import annotations

from pathlib import Path

import click

from patchbay import growth_bench, options
from patchbay.bench_figures import drawing_options, figure_options

_MOST = {"modules": 256, "listed": 5000, "classes": 3000}
_TOY = {
    "modules": (1, 2, 4),
    "listed": (5, 10, 20),
    "classes": (10, 20, 40),
    "load_repeats": 1,
    "latency_repeats": 5,
    "repeats": 2,
    "tiny": True,
}


@click.command(short_help="Measure how time and memory grow with modules, versions and classes.")
@click.option(
    "--series",
    type=click.Choice(list(_MOST)),
    multiple=True,
    default=tuple(_MOST),
    show_default=True,
    help="What is measured; may be repeated.",
)
@click.option(
    "--modules",
    type=options.Counts(_MOST["modules"]),
    default="1,2,4,8,16,32,64",
    show_default=True,
    help="Class modules of a patched model.",
)
@click.option(
    "--listed",
    type=options.Counts(_MOST["listed"]),
    default="10,30,100,300,1000",
    show_default=True,
    help="Class modules in a registry.",
)
@click.option(
    "--classes",
    type=options.Counts(_MOST["classes"]),
    default="10,30,100,300,1000",
    show_default=True,
    help="Of a strong network, and of the model composed of its modules; 2 at least.",
)
@click.option(
    "--width",
    type=options.FiniteRange(0.05, 1),
    default=0.25,
    show_default=True,
    help="SimCNN's, as a share of the paper's.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 10_000),
    default=7,
    show_default=True,
    help="Of each time in a registry and with so many classes.",
)
@click.option(
    "--load-repeats",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    help="Processes that load each patched model, one after the other.",
)
@click.option(
    "--latency-repeats",
    type=click.IntRange(1, 10_000),
    default=30,
    show_default=True,
    help="Of each request to each patched model.",
)
@drawing_options
@options.threads
@figure_options
def memory_growth(
    series: tuple[str, ...],
    modules: tuple[int, ...],
    listed: tuple[int, ...],
    classes: tuple[int, ...],
    width: float,
    repeats: int,
    load_repeats: int,
    latency_repeats: int,
    pictures: Path | None,
    figures: Path | None,
    threads: int,
    toy: bool,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure how cost grows: with a patched model's modules, a registry's entries, classes.

    All networks have random weights. Patched models are loaded and asked as the service does it;
    registries are MLflow's, in temporary homes, with tiny networks. Of each quantity the exponent
    of its growth and what one more costs are given. Takes nine minutes; --toy, whose sizes and
    repeats are its own, takes one or two.
    """
    if figures is None:
        asked = {
            "series": tuple(dict.fromkeys(series)),
            "modules": modules,
            "listed": listed,
            "classes": classes,
            "width": width,
            "repeats": repeats,
            "load_repeats": load_repeats,
            "latency_repeats": latency_repeats,
            "threads": threads,
            "seed": seed,
        }
        found = growth_bench.measure(asked | (_TOY if toy else {}), out)
    else:
        found = growth_bench.read(figures)
    growth_bench.show(found, pictures, as_json=as_json)
