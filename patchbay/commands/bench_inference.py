"""``patchbay bench inference``: what patches cost, without a service around them."""

from __future__ import annotations

from pathlib import Path

import click

from patchbay import inference_bench, options
from patchbay.bench_figures import drawing_options, figure_options


@click.command(short_help="Measure a weak model beside the same with patches: time and memory.")
@click.argument("uri", required=False)
@click.option(
    "--architecture",
    "architectures",
    type=click.Choice(["simcnn", "rescnn"]),
    multiple=True,
    default=("simcnn", "rescnn"),
    show_default=True,
    help="Of networks with random weights; may be given twice.",
)
@click.option(
    "--width",
    "widths",
    type=options.FiniteRange(0.05, 1),
    multiple=True,
    default=(1.0,),
    show_default=True,
    help="Theirs, as a share of the paper's; may be given several times.",
)
@click.option(
    "--batch",
    "batches",
    type=options.Counts(4096),
    help="Images at once.  [default: 1,8,32; on a GPU 1,8,32,128,512]",
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
    "--forms",
    is_flag=True,
    help="Instead, the weak model and a module in each form in which a CPU could run them.",
)
@click.option(
    "--memory/--no-memory",
    default=True,
    show_default=True,
    help="Measure memory, too, by a process for each row.",
)
@drawing_options
@options.threads
@options.home
@figure_options
def inference(
    uri: str | None,
    architectures: tuple[str, ...],
    widths: tuple[float, ...],
    batches: tuple[int, ...] | None,
    repeats: int,
    device: str,
    precision: str,
    compiled: bool,
    forms: bool,
    memory: bool,
    pictures: Path | None,
    figures: Path | None,
    threads: int,
    home: Path | None,
    toy: bool,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run a weak model, class modules and a strong model by themselves, in turns.

    URI is the address of a patched model: its networks are measured, its strong model and other
    class modules of that, if the registry has them. Without URI networks with random weights
    are. Each row is compared with the weak model alone within the same round. Where only torch
    is installed, such as beside a GPU, the same is measured by

        python -m benchmarks.inference --device cuda --out FILE

    and shown here by --figures FILE.
    """
    if uri is not None and (refused := options.given("architectures", "widths", "toy")):
        raise click.UsageError(f"{refused[0]} is of networks with random weights: leave URI out")
    if figures is not None and (uri is not None or out is not None):
        raise click.UsageError("--figures measures nothing: it goes without URI and --out")
    if uri is None and options.given("home"):
        raise click.UsageError("--home goes with URI")
    if forms and (uri is not None or device != "cpu" or pictures is not None):
        raise click.UsageError("--forms is of random networks on a CPU, and has no pictures")
    if figures is None:
        from benchmarks.inference.settings import BATCHES

        more = {
            "batches": batches or BATCHES[device],
            "repeats": repeats,
            "device": device,
            "precision": precision,
            "compiled": compiled,
            "forms": forms,
            "memory": memory,
            "threads": threads,
            "seed": seed,
        }
        if toy:
            architectures, widths = ("simcnn",), (0.05,)
        asked = inference_bench.Asked(uri, home, architectures, widths, more)
        found = inference_bench.measure(asked, out)
    else:
        found = inference_bench.read(figures)
    inference_bench.show(found, pictures, as_json=as_json)
