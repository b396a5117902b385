"""``patchbay predict``: offline answers for files, folders and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from patchbay import options
from patchbay.console import emit, progress_bars, say, table
from patchbay.session import alone, cores, open_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.loading import Loaded
    from serving.scoring.answering import Model
    from serving.scoring.batches import Batch
    from serving.scoring.inputs import Inputs
    from serving.scoring.parts import Counts

UNREADABLE = 5
"""Exit code where some images could not be read; all others have answers."""


@click.command(short_help="Classify image files offline.")
@click.argument("uri")
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the answers to this folder as Parquet, for any number of images.",
)
@click.option("--restart", is_flag=True, help="Begin anew, not where the files in --out end.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Images that are read and decoded at once for --out [default: one a core, 4 at most].",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    envvar="PATCHBAY_MAX_PIXELS",
    help="Height times width of an image for --out; larger ones count as unreadable [default: "
    "16777216, as the service].",
)
@options.common
def predict(
    uri: str,
    images: tuple[Path, ...],
    out: Path | None,
    restart: bool,
    workers: int | None,
    max_pixels: int | None,
    threads: int,
    home: Path | None,
    as_json: bool,
) -> None:
    """Classify IMAGES with the model URI: image files, folders of them, .npy or .npz arrays.

    Of an .npz the array `images` is read, or `test_images` where there is none. Of a folder all
    images are taken, in folders within it, too; links to files are followed, links to folders are
    not.

    With --out, the answers are written to a folder of Parquet files, part-00000.parquet and so
    on, with a row an image: image (its path below the folder that was given, or PATH[INDEX] in an
    array; as it was given where there are several), label, score, weak_label, weak_score,
    changed_by, scores (in the order of the classes, which the files' metadata name), error.
    Whenever it is interrupted, the same command goes on where it ended, with the same answers to
    the bit. An image that can't be read has an error and no answer; the exit code is 5 then. A
    file that was named before is left out.
    """
    registry = open_registry(home, threads=threads, addresses=[uri], reads_only=True)
    from serving.errors import NoImagesError
    from serving.scoring.inputs import list_inputs

    if out is None:
        for option in options.given("restart", "workers", "max_pixels"):
            raise click.UsageError(f"{option} goes with --out")
    try:
        inputs = list_inputs(images, as_dataset=out is not None)
    except NoImagesError as error:
        raise click.UsageError(str(error)) from error
    loaded = registry.load(uri)
    model = _whole(loaded)
    if out is None:
        _show(loaded.version.uri, model, inputs, as_json=as_json)
        return
    counts = _score(
        out,
        loaded,
        inputs,
        restart=restart,
        workers=workers or min(cores(), 4),
        max_pixels=max_pixels,
        quiet=as_json,
    )
    _summarise(out, loaded.version.uri, inputs, counts, as_json=as_json)
    if counts.unreadable:
        raise SystemExit(UNREADABLE)


def _whole(loaded: Loaded) -> Model:
    from modularizer.assembly.patched import PatchedClassifier
    from modularizer.classifier import Classifier
    from registry.errors import RegistryError

    if not isinstance(loaded.model, PatchedClassifier | Classifier):
        raise RegistryError(
            f"{loaded.version.uri} scores one class alone; predict with a strong, weak or "
            "patched model"
        )
    return loaded.model


def _show(uri: str, model: Model, inputs: Inputs, *, as_json: bool) -> None:
    """Print all answers; the first image that can't be read ends it."""
    from modularizer.errors import DataError
    from serving.scoring.batches import score_batches, slices
    from serving.scoring.scoring import BATCH_SIZE

    answers: list[dict[str, Any]] = []
    for batch in score_batches(model, inputs, slices(0, len(inputs), BATCH_SIZE)):
        for error in filter(None, batch.errors):
            raise DataError(error)
        answers += _answers(model, batch)
    if as_json:
        emit({"uri": uri, "predictions": answers})
        return
    table(
        f"{uri}",
        ("image", "answer", "score", "weak answer", "changed by"),
        [
            (
                answer["image"],
                answer["label"],
                f"{answer['scores'][answer['label']]:.3f}",
                answer.get("weak_label", ""),
                ", ".join(answer.get("changed_by", ())),
            )
            for answer in answers
        ],
        left=2,
    )


def _answers(model: Model, batch: Batch) -> Iterator[dict[str, Any]]:
    """The answers of a batch without errors."""
    from modularizer.assembly.patched import PatchedClassifier

    assert batch.answers is not None
    names = model.class_names
    scores, weak_scores = batch.answers.scores, batch.answers.weak_scores
    for index, name in enumerate(batch.names):
        label = int(scores[index].argmax())
        answer: dict[str, Any] = {
            "image": name,
            "label": names[label],
            "scores": dict(zip(names, scores[index].tolist(), strict=True)),
        }
        if isinstance(model, PatchedClassifier) and weak_scores is not None:
            weak_label = int(weak_scores[index].argmax())
            answer |= {
                "weak_label": names[weak_label],
                "weak_scores": dict(zip(names, weak_scores[index].tolist(), strict=True)),
                "changed_by": list(model.changed_by(weak_label=weak_label, label=label)),
            }
        yield answer


def _score(
    out: Path,
    loaded: Loaded,
    inputs: Inputs,
    *,
    restart: bool,
    workers: int,
    max_pixels: int | None,
    quiet: bool,
) -> Counts:
    """Score all images into a folder, alone, from where it was left."""
    from serving.engine.packing import pack_all
    from serving.scoring.folder import LOCK_FILE
    from serving.scoring.scoring import (
        MAX_PIXELS,
        ModelSource,
        ScoringSettings,
        score_into,
        scored_folder,
    )

    model = _whole(loaded)
    pack_all(model)
    source = ModelSource(loaded.version.uri, loaded.version.digest)
    settings = ScoringSettings(max_pixels=max_pixels or MAX_PIXELS)
    folder = scored_folder(out, inputs, source, settings)
    lock_file = out / LOCK_FILE
    with alone(lock_file, "folder"):
        try:
            if folder.begin(restart=restart) and not quiet:
                click.echo(f"going on where {out} ends; --restart begins anew", err=True)
            with progress_bars(quiet=quiet) as bar:
                counts = score_into(
                    folder,
                    model,
                    inputs,
                    source,
                    settings,
                    workers=workers,
                    progress=bar(loaded.version.name),
                )
        except (KeyboardInterrupt, SystemExit):
            click.echo(
                f"\nkept up to here in {out}: the same command goes on, and --restart begins anew",
                err=True,
            )
            raise
        lock_file.unlink(missing_ok=True)  # while it is held: a lock without a name is none
    return counts


def _summarise(out: Path, uri: str, inputs: Inputs, counts: Counts, *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        emit({"uri": uri, "out": str(out), **asdict(counts), "named_twice": inputs.doubles})
        return
    say(f"{uri}: {counts.images - counts.unreadable:,} images answered in {out}")
    if counts.changed:
        say(f"{counts.changed:,} of them otherwise than by the weak model")
    if inputs.doubles:
        say(f"{inputs.doubles:,} were named twice and taken once")
    if counts.unreadable:
        say(f"{counts.unreadable:,} could not be read; the column `error` says why")
