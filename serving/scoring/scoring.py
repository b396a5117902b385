"""Scoring many images into a folder, from where it was left."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from modularizer.progress import Progress, ProgressCallback, ignore_progress
from modularizer.software import software_versions
from modularizer.whole_files import write_whole
from serving.scoring.answering import Model
from serving.scoring.batches import Batch, Slice, score_batches, slices
from serving.scoring.folder import ScoredFolder
from serving.scoring.inputs import Inputs
from serving.scoring.parts import Columns, Counts, count
from serving.settings import Settings

_FORMAT = 1

BATCH_SIZE = 64
"""Images that go through the networks together."""

PART_IMAGES = 4096
"""Images of a part: the most that is done again after an interruption."""

MAX_PIXELS: int = Settings.model_fields["max_pixels"].default
"""Height times width of one image at most: as the service's."""


@dataclass(frozen=True)
class ScoringSettings:
    """What the answers, or how they are divided into files, depend on.

    Attributes:
        batch_size: images that go through the networks together.
        part_images: images of a file.
        max_pixels: height times width of one image; larger ones get an error.
    """

    batch_size: int = BATCH_SIZE
    part_images: int = PART_IMAGES
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class ModelSource:
    """Which registered version a model is.

    Attributes:
        uri: its address.
        digest: SHA-256 of its ``bundle.json``; pins every byte of it.
    """

    uri: str
    digest: str


def scored_folder(
    path: Path, inputs: Inputs, source: ModelSource, settings: ScoringSettings
) -> ScoredFolder:
    """The folder for these images' answers by this model; nothing is written yet.

    Raises:
        ScoringError: if there is something else in it.
    """
    task: dict[str, Any] = {
        "format": _FORMAT,
        "model": source.uri,
        "model_digest": source.digest,
        "images": len(inputs),
        "images_fingerprint": inputs.fingerprint(),
        **asdict(settings),
        "threads": torch.get_num_threads(),  # they add up in another order
        "networks": "packed",  # so do these
        "software": software_versions("torch", "numpy", "pillow", "pyarrow"),
    }
    return ScoredFolder(path, task)


def score_into(
    folder: ScoredFolder,
    model: Model,
    inputs: Inputs,
    source: ModelSource,
    settings: ScoringSettings,
    *,
    workers: int = 1,
    progress: ProgressCallback = ignore_progress,
) -> Counts:
    """Score what the folder lacks; `ScoredFolder.begin` comes first, and the lock around both.

    Each part is written whole and depends on its own images alone, so that a run that was
    interrupted, gone on with, gives the files of one that was not, byte for byte.

    Args:
        folder: where the answers go.
        model: on the CPU.
        inputs: the images, as when the folder was opened.
        source: which model it is.
        settings: as when the folder was opened.
        workers: threads that read and decode images; they change no answer.
        progress: told of every batch, in images.

    Returns:
        What became of all images, those of earlier runs among them.

    Raises:
        ScoringError: if a part that is there is not whole.
        DataError: if an array can't be read; a broken file has an error in its row instead.
        OSError: if a part can't be written; what was there before is there still.
    """
    columns = Columns(model, {"uri": source.uri, "digest": source.digest, "task": folder.digest})
    parts = list(slices(0, len(inputs), settings.part_images))
    there = [folder.has(number, part.stop - part.start) for number, part in enumerate(parts)]
    counts = sum((count(folder.part(n)) for n, is_there in enumerate(there) if is_there), Counts())
    meter = _Meter(len(inputs), counts, progress)
    missing = {part.stop: number for number, part in enumerate(parts) if not there[number]}
    wanted = (
        one
        for number in missing.values()
        for one in slices(parts[number].start, parts[number].stop, settings.batch_size)
    )
    rows: list[Any] = []
    for batch in score_batches(
        model, inputs, wanted, workers=workers, max_pixels=settings.max_pixels
    ):
        rows.append(columns.rows(batch))
        if batch.where.stop in missing:
            number = missing[batch.where.stop]
            path = folder.part(number)
            write_whole(path, columns.file(rows, part=number))
            counts += count(path)
            rows.clear()
        meter.tell(batch)
    folder.finish(counts)
    return counts


class _Meter:
    """Tells how far it is."""

    def __init__(self, total: int, done: Counts, progress: ProgressCallback) -> None:
        self._total = total
        self._before = self._done = done.images
        self._unreadable = done.unreadable
        self._progress = progress
        self._began = monotonic()
        progress(Progress("score", self._done, total))

    def tell(self, batch: Batch) -> None:
        where: Slice = batch.where
        self._done += where.stop - where.start
        self._unreadable += sum(error is not None for error in batch.errors)
        seconds = max(monotonic() - self._began, 1e-9)
        metrics = {"images_per_second": round((self._done - self._before) / seconds)}
        if self._unreadable:
            metrics["unreadable"] = self._unreadable
        self._progress(Progress("score", self._done, self._total, metrics))
