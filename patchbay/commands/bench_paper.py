"""``patchbay bench paper``: the paper's experiment, whole or in part."""

from __future__ import annotations

from pathlib import Path

import click

from patchbay import options, paper_bench

_OF_A_RUN = ("track_name", "images", "only", "listing", "time_limit", "device", "workers")
"""Options that published scores have no use for: they say what they are of, and nothing runs."""


@click.command(short_help="Repeat the paper's experiment, and improve on it.")
@click.option(
    "--track",
    "track_name",
    default="small",
    show_default=True,
    metavar="quick|small|full|FILE",
    help="quick: to see it work, in minutes; small: quarter-width networks, over an hour on two "
    "cores; full: the paper's, for a GPU; or a TOML file of the same form.",
)
@click.option(
    "--data",
    "images",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder where images are, or are downloaded to [default: PATCHBAY_DATA, or ./data].",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where each finished step is kept; the same command goes on where it was interrupted "
    "[default: .patchbay/paper-TRACK].",
)
@click.option(
    "--only",
    multiple=True,
    metavar="SUITE/CLASS",
    help="Only the weak models of this target class, such as simcnn-cifar/cat or '*/ship'; may "
    "be repeated.",
)
@click.option(
    "--scores",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Make the tables again from the scores in this folder, such as "
    "benchmarks/results/paper-small, into --out; nothing is trained.",
)
@click.option(
    "--refit",
    is_flag=True,
    help="With --scores: fit every rule anew, and choose anew.",
)
@click.option("--list", "listing", is_flag=True, help="Say what the steps are, and what is done.")
@click.option(
    "--time-limit",
    type=options.FiniteRange(0, min_open=True),
    metavar="MINUTES",
    help="Stop after about that long; the same command goes on.",
)
@options.device
@options.workers
@options.threads
@options.as_json
def paper(
    track_name: str,
    images: Path | None,
    out: Path | None,
    only: tuple[str, ...],
    scores: Path | None,
    refit: bool,
    listing: bool,
    time_limit: float | None,
    device: str,
    workers: int | None,
    threads: int,
    as_json: bool,
) -> None:
    """Train strong and weak models, take the strong ones apart, patch, compare with the paper.

    Nothing is chosen by held-out images: they are scored when every choice is written down.
    """
    if refit and scores is None:
        raise click.UsageError("--refit goes with --scores")
    if scores is not None:
        for option in options.given(*_OF_A_RUN):
            raise click.UsageError(f"{option} does not go with --scores")
        if out is None:
            raise click.UsageError("--scores goes with --out, where tables are to be written")
        paper_bench.repeat(scores, out, refit=refit, threads=threads, as_json=as_json)
        return
    paper_bench.run(
        paper_bench.Asked(
            track_name=track_name,
            images=images,
            out=out or Path(".patchbay") / f"paper-{Path(track_name).stem}",
            only=only,
            seconds=None if time_limit is None else 60 * time_limit,
            device=device,
            workers=workers,
            threads=threads,
            as_json=as_json,
        ),
        listing=listing,
    )
