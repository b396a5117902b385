"""``patchbay bench``: measure it yourself."""

from __future__ import annotations

from typing import Any

import click

from patchbay import options
from patchbay.console import emit, say, table


@click.group(short_help="Measure the search on this machine.")
def bench() -> None:
    """Measure: the search's stages (more to come)."""


@bench.command()
@click.option(
    "--stage",
    type=click.Choice(["bracket", "decode"]),
    default="bracket",
    show_default=True,
    help="bracket: with Diff, on random scores; decode: against running the decoded module.",
)
@click.option("--classes", type=click.IntRange(2, 1000), default=10, show_default=True)
@click.option("--candidates", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option("--images", type=click.IntRange(10, 1_000_000), default=2000, show_default=True)
@click.option("--repeats", type=click.IntRange(1, 10_000), default=5, show_default=True)
@options.threads
@options.as_json
def search(
    stage: str,
    classes: int,
    candidates: int,
    images: int,
    repeats: int,
    threads: int,
    as_json: bool,
) -> None:
    """Time a stage of the search on this machine."""
    import torch

    from benchmarks.environment import environment
    from benchmarks.search import BracketSize, measure_bracket, measure_decoding

    torch.set_num_threads(threads)
    if stage == "bracket":
        size = BracketSize(classes=classes, candidates=candidates, images=images)
        found: dict[str, Any] = measure_bracket(size, repeats=repeats)
        rows = [(name, found[name]) for name in ("bracket", "diff")]
        title = f"{classes} classes x {candidates} candidates x {images:,} images"
    else:
        measured = [
            measure_decoding(width_multiplier=width, repeats=repeats) for width in (0.25, 1.0)
        ]
        found = {"networks": measured}
        rows = [
            (f"{name} at width {one['width_multiplier']:g}", one[name])
            for one in measured
            for name in ("decode", "run")
        ]
        title = "Decoding a SimCNN class module, and running it on 500 images"
    found["environment"] = environment()
    if as_json:
        emit(found)
        return
    table(
        title,
        ("", "median s", "fastest", "slowest", "n"),
        [
            (name, f"{t['median']:.4f}", f"{t['low']:.4f}", f"{t['high']:.4f}", str(t["repeats"]))
            for name, t in rows
        ],
    )
    for one in found.get("networks", ()):
        say(f"width {one['width_multiplier']:g}: decoding is {one['decode_share']:.1%} of running")
