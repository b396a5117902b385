"""``patchbay bench search``: time the search, and compare its variants."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from patchbay import bench_view, options
from patchbay.console import emit, progress_bars, say
from patchbay.session import cores, load_splits, open_registry

if TYPE_CHECKING:
    from benchmarks.subject import Subject
    from modularizer.datasets.images import DataSplits
    from modularizer.progress import ProgressCallback
    from modularizer.settings import DecompositionSettings

    Bars = Callable[[str], ProgressCallback]


@dataclass(frozen=True)
class _Asked:
    """What a measurement was asked to do; None where the kind of measurement decides."""

    model: str | None
    source: str
    data_seed: int
    network: str
    width_multiplier: float
    epochs: int | None
    classes: int
    candidates: int | None
    top: int | None
    images: int | None
    generations: int | None
    repeats: int
    reference: bool
    reference_share: float | None
    changed: tuple[tuple[str, Any], ...]
    seeds: int
    seed: int
    device: str
    precision: Literal["float32", "tf32", "bfloat16"]
    workers: int | None
    threads: int
    home: Path | None
    out: Path | None
    as_json: bool

    def share(self, default: float) -> float | None:
        """How much of the plain work is done; None for none of it."""
        return (self.reference_share or default) if self.reference else None


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
    type=click.FloatRange(0.1, 1),
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
    type=click.FloatRange(0, 16, min_open=True),
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
    asked = _Asked(**values)
    if asked.reference_share is not None and not asked.reference:
        raise click.UsageError("--reference-share goes with --reference")
    if ablation and (asked.reference or stage != "generation"):
        raise click.UsageError("--ablation goes with neither --reference nor --stage")
    if asked.out is not None and not ablation:
        raise click.UsageError("--out goes with --ablation")
    if ablation:
        _ablation(asked)
    elif stage == "generation":
        _generation(asked)
    elif stage == "bracket":
        _bracket(asked)
    else:
        _decode(asked)


def _generation(asked: _Asked) -> None:
    from benchmarks.generation import GenerationRow, measure_generations
    from benchmarks.subject import open_workbench
    from modularizer.progress import Progress

    generations = asked.generations or 3
    settings = _settings(asked, generations)
    with progress_bars(quiet=asked.as_json) as bar:
        subject = _subject(asked, bar)
        follow = bar("bench")
        with open_workbench(
            subject, settings, workers=asked.workers or cores(), progress=follow
        ) as bench:

            def told(row: GenerationRow) -> None:
                found = {"accuracy": row.accuracy, "passes": float(row.passes)}
                follow(Progress("generation", row.generation, generations, found))

            found = measure_generations(
                bench, settings, reference_share=asked.share(1.0), told=told
            )
    if asked.as_json:
        emit(found)
    else:
        bench_view.show_generations(found)
    _require_same_results(found)


def _bracket(asked: _Asked) -> None:
    import torch

    from benchmarks.environment import environment
    from benchmarks.search import BracketSize, measure_bracket

    torch.set_num_threads(asked.threads)
    candidates = asked.candidates or 100
    size = BracketSize(
        classes=asked.classes,
        candidates=candidates,
        images=max(asked.images or 2000, asked.classes),
        top=asked.top or candidates,
    )
    found = measure_bracket(
        size, repeats=asked.repeats, seed=asked.seed, reference_share=asked.share(0.1)
    )
    found["environment"] = environment()
    if asked.as_json:
        emit(found)
    else:
        bench_view.show_bracket(found)
    _require_same_results(found)


def _decode(asked: _Asked) -> None:
    import torch

    from benchmarks.environment import environment
    from benchmarks.search import measure_decoding

    torch.set_num_threads(asked.threads)
    measured = [
        measure_decoding(width_multiplier=width, repeats=asked.repeats) for width in (0.25, 1.0)
    ]
    found = {"networks": measured, "environment": environment()}
    if asked.as_json:
        emit(found)
    else:
        bench_view.show_decoding(found)


def _ablation(asked: _Asked) -> None:
    from benchmarks.ablation import SMALL_CLASSES, Ablation
    from benchmarks.pictures import save_ablation
    from benchmarks.subject import open_workbench

    base = _settings(asked, asked.generations or 30)
    ablation = Ablation(base, range(asked.seed, asked.seed + asked.seeds), asked.out)
    workers = asked.workers or cores()

    def told(row: dict[str, Any]) -> None:
        if not asked.as_json:
            click.echo(bench_view.ablation_line(row), err=True)

    with progress_bars(quiet=asked.as_json) as bar:
        subject = _subject(asked, bar)
        part = subject.first_classes(min(SMALL_CLASSES, len(subject.data.class_names)))
        with (
            open_workbench(subject, base, workers=workers, progress=bar("all classes")) as bench,
            open_workbench(part, base, workers=workers, progress=bar("few classes")) as small,
        ):
            found = ablation.run(bench, small, told=told, progress=bar)
    if asked.out is not None:
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / "search-ablation.json").write_text(json.dumps(found, indent=1) + "\n")
        save_ablation(found, asked.out / "search-ablation.png")
    if asked.as_json:
        emit(found)
        return
    bench_view.show_ablation(found)
    if asked.out is not None:
        say(f"kept in {asked.out}: search-ablation.json, search-ablation.png")


def _settings(asked: _Asked, generations: int) -> DecompositionSettings:
    """The search's settings: sizes by options of their own, the rest by --setting."""
    from benchmarks.ablation import base_settings

    own = {
        "validation_images",
        "candidates",
        "top",
        "generations",
        "seed",
        "precision",
        "bracket",
        "search",
    }
    if taken := own & {name for name, _ in asked.changed}:
        raise click.UsageError(f"--setting doesn't take {', '.join(sorted(taken))}")
    return base_settings(
        candidates=asked.candidates or 20,
        top=asked.top,
        generations=generations,
        changes={"seed": asked.seed, "precision": asked.precision, **dict(asked.changed)},
    )


def _subject(asked: _Asked, bar: Bars) -> Subject:
    """The registered model that was asked for, or one that is trained now."""
    import torch

    from benchmarks.subject import EPOCHS, Subject, train_subject
    from modularizer.devices import require_device

    torch.set_num_threads(asked.threads)
    device = require_device(asked.device, asked.precision)
    if asked.model is not None:
        registry = open_registry(
            asked.home, threads=asked.threads, addresses=[asked.model], reads_only=True
        )
        strong = registry.load_classifier(asked.model).to(device)
        return Subject(asked.model, strong, _data(asked, strong.class_names))
    return train_subject(
        _data(asked, None),
        network=asked.network,
        width_multiplier=asked.width_multiplier,
        epochs=asked.epochs or EPOCHS,
        device=device,
        progress=bar(f"{asked.network} on {asked.source}"),
    )


def _data(asked: _Asked, classes: tuple[str, ...] | None) -> DataSplits:
    """The data, with as many validation images as were asked for, or all that there are."""
    from modularizer.datasets.splits import with_validation_images

    wanted = asked.images or 500
    data = load_splits(asked.source, seed=asked.data_seed, size=None, classes=classes)
    if len(data.validation) < wanted:
        there = len(data.validation)
        click.echo(f"{asked.source} has {there} validation images: all are used", err=True)
    return with_validation_images(data, wanted, seed=asked.seed)


def _require_same_results(found: dict[str, Any]) -> None:
    if found.get("disagreements"):
        raise click.ClickException(
            "the plain way came to other results, so the ratio compares different work: "
            + "; ".join(found["disagreements"])
        )
