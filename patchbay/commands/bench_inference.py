"""``patchbay bench inference``: what patches cost, without a service around them."""

from __future__ import annotations

from pathlib import Path

import click

from patchbay import inference_bench, options
from patchbay.bench_figures import figure_options


@click.command(short_help="Measure a weak model beside the same with patches: time and memory.")
@click.option(
    "--architecture",
    "architectures",
    type=click.Choice(["simcnn", "rescnn"]),
    multiple=True,
    default=("simcnn", "rescnn"),
    show_default=True,
    help="Of all networks; may be given twice.",
)
@click.option(
    "--width",
    type=options.FiniteRange(0.05, 1),
    default=1.0,
    show_default=True,
    help="SimCNN's, as a share of the paper's.",
)
@click.option(
    "--batches",
    type=options.Counts(4096),
    default="1,8,32",
    show_default=True,
    help="Images at once.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 100_000),
    default=60,
    show_default=True,
    help="Of each row at each batch; with fewer than 50 no aim is judged.",
)
@options.device
@click.option(
    "--precision",
    type=click.Choice(["float32", "tf32"]),
    default="float32",
    show_default=True,
    help="tf32 lets a GPU's convolutions round to 10 bits.",
)
@click.option("--compiled", is_flag=True, help="Rows by torch.compile, too, which takes minutes.")
@click.option(
    "--memory/--no-memory",
    default=True,
    show_default=True,
    help="Measure memory, too, by a process for each row.",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, file_okay=False),
    help="Draw what was measured into this folder.",
)
@click.option(
    "--figures",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Show what a file of --out holds, such as another machine's, and measure nothing.",
)
@options.threads
@figure_options
def inference(
    architectures: tuple[str, ...],
    width: float,
    batches: tuple[int, ...],
    repeats: int,
    device: str,
    precision: str,
    compiled: bool,
    memory: bool,
    pictures: Path | None,
    figures: Path | None,
    threads: int,
    toy: bool,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run a weak model, class modules and a strong model by themselves, in turns.

    All have random weights. Each row is compared with the weak model alone within the same
    round. Where only torch is installed, such as beside a GPU, the same is measured by

        python -m benchmarks.inference --device cuda --out FILE

    and shown here by --figures FILE.
    """
    if figures is None:
        measured = {
            "width": 0.05 if toy else width,
            "batches": batches,
            "repeats": repeats,
            "device": device,
            "precision": precision,
            "compiled": compiled,
            "memory": memory,
            "threads": threads,
            "seed": seed,
        }
        found = inference_bench.measure(("simcnn",) if toy else architectures, measured, out)
    else:
        found = inference_bench.read(figures)
    inference_bench.show(found, pictures, as_json=as_json)
