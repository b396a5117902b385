"""What ``patchbay bench search`` was asked for, measured and shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from patchbay import bench_view
from patchbay.console import emit, progress_bars, say
from patchbay.session import cores, load_splits, open_registry

if TYPE_CHECKING:
    from benchmarks.search.subject import Subject
    from modularizer.datasets.data_splits import DataSplits
    from modularizer.progress import ProgressCallback
    from modularizer.settings import DecompositionSettings

    Bars = Callable[[str], ProgressCallback]


@dataclass(frozen=True)
class Asked:
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


def time_generations(asked: Asked) -> None:
    """Whole generations of a search, beside the plain way if asked for."""
    from benchmarks.search.generation import GenerationRow, measure_generations
    from benchmarks.search.subject import open_workbench
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


def time_bracket(asked: Asked) -> None:
    """Bracket and Diff alone, on random scores."""
    import torch

    from benchmarks.environment import environment
    from benchmarks.search.stages import BracketSize, measure_bracket

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


def time_decoding(asked: Asked) -> None:
    """Decoding a class module against running it."""
    import torch

    from benchmarks.environment import environment
    from benchmarks.search.stages import measure_decoding

    torch.set_num_threads(asked.threads)
    measured = [
        measure_decoding(width_multiplier=width, repeats=asked.repeats) for width in (0.25, 1.0)
    ]
    found = {"networks": measured, "environment": environment()}
    if asked.as_json:
        emit(found)
    else:
        bench_view.show_decoding(found)


def compare_variants(asked: Asked) -> None:
    """One setting changed at a time; each finished run is kept."""
    from benchmarks.search.ablation import SMALL_CLASSES, Ablation
    from benchmarks.search.pictures import save_ablation
    from benchmarks.search.subject import open_workbench

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


def _settings(asked: Asked, generations: int) -> DecompositionSettings:
    """The search's settings: sizes by options of their own, the rest by --setting."""
    from benchmarks.search.ablation import base_settings

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


def _subject(asked: Asked, bar: Bars) -> Subject:
    """The registered model that was asked for, or one that is trained now."""
    import torch

    from benchmarks.search.subject import EPOCHS, Subject, train_subject
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


def _data(asked: Asked, classes: tuple[str, ...] | None) -> DataSplits:
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
