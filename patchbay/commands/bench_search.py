"""``patchbay bench search``: time the search, and compare its variants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from patchbay import options, search_bench


@click.command(short_help="Time the search, or compare its variants.")
@click.option(
    "--stage",
    type=click.Choice(["generation", "bracket", "decode"]),
    default="generation",
    show_default=True,
    help="generation: whole ones, by stage; bracket: with Diff alone, on random scores; decode: "
    "against running the decoded module.",
)
@click.option(
    "--ablation",
    is_flag=True,
    help="Change one setting at a time and compare: grouping, first population, the published "
    "code's variants, alpha, N_I, bracket or none.",
)
@click.option(
    "--reference",
    is_flag=True,
    help="Do the same work the plain way, too, in turns, and give the ratio: every candidate on "
    "every image, sets of kernel names, an argmax a composed model.",
)
@click.option(
    "--reference-share",
    type=options.FiniteRange(0.1, 1),
    help="Share of the plain work that is done and timed; the rest is scaled up from it "
    "[default: 1; with --stage bracket 0.1].",
)
@click.option("--model", help="A registered strong model [default: one is trained on the spot].")
@click.option(
    "--data",
    "source",
    default="digits",
    show_default=True,
    help="digits, cifar10, svhn, a FILE.npz or an image FOLDER.",
)
@options.data_seed
@click.option(
    "--network",
    type=click.Choice(["simcnn", "rescnn"]),
    default="simcnn",
    show_default=True,
    help="What is trained on the spot.",
)
@click.option(
    "--width-multiplier",
    type=options.FiniteRange(0, 16, min_open=True),
    default=0.25,
    show_default=True,
    help="Of the paper's widths.",
)
@click.option("--epochs", type=click.IntRange(1, 1000), help="Of that training [default: 12].")
@click.option(
    "--candidates",
    type=click.IntRange(2, 10_000),
    help="Candidates a class, N_I [default: 20; with --stage bracket 100].",
)
@click.option(
    "--top",
    type=click.IntRange(1, 1_000_000),
    help="Models that pass a bracket stage, N_top [default: as many as candidates].",
)
@click.option(
    "--images",
    type=click.IntRange(1, 1_000_000),
    help="Validation images, as even over classes as they allow [default: 500; with --stage "
    "bracket 2000].",
)
@click.option(
    "--generations",
    type=click.IntRange(1, 10_000),
    help="Generations that are run [default: 3; with --ablation 30 at most].",
)
@click.option(
    "--classes",
    type=click.IntRange(2, 1000),
    default=10,
    show_default=True,
    help="With --stage bracket.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 10_000),
    default=5,
    show_default=True,
    help="Timed runs with --stage bracket or decode.",
)
@click.option(
    "--setting",
    "changed",
    type=options.JsonArguments(),
    multiple=True,
    help="Any other setting of modularize, such as sensitive_drop=[0,0.2]; may be repeated. With "
    "--ablation in all rows but those that vary it.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="With --ablation: seeds that each row is run with, from --seed on.",
)
@click.option("--seed", type=click.IntRange(0, 2**62), default=0, show_default=True)
@options.device
@click.option(
    "--precision",
    type=click.Choice(["float32", "tf32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Of the candidates' arithmetic; tf32 needs a GPU.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --ablation: keep each finished run, the table and a picture in this folder; the "
    "same command goes on where it was interrupted.",
)
@options.workers
@options.common
def search(stage: str, ablation: bool, **values: Any) -> None:
    """Time the search on this machine: whole generations, or a part; or compare its variants.

    Without --model a quarter-width SimCNN is trained on --data first, which takes half a minute
    on digits. Sizes are fit for two cores; the paper's are --width-multiplier 1 --candidates 100
    --images 10000 --data cifar10, for a GPU.
    """
    asked = search_bench.Asked(**values)
    if asked.reference_share is not None and not asked.reference:
        raise click.UsageError("--reference-share goes with --reference")
    if ablation and (asked.reference or stage != "generation"):
        raise click.UsageError("--ablation goes with neither --reference nor --stage")
    if asked.out is not None and not ablation:
        raise click.UsageError("--out goes with --ablation")
    if ablation:
        search_bench.compare_variants(asked)
    elif stage == "generation":
        search_bench.time_generations(asked)
    elif stage == "bracket":
        search_bench.time_bracket(asked)
    else:
        search_bench.time_decoding(asked)
