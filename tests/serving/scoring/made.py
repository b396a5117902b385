"""Image files and a model to score them with, the same in every process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from modularizer.progress import ProgressCallback, ignore_progress
from serving.scoring.inputs import Inputs, list_inputs
from serving.scoring.parts import Counts
from serving.scoring.scoring import ModelSource, ScoringSettings, score_into, scored_folder
from tests.serving.samples import make_patched, random_images

SOURCE = ModelSource("models:/served/1", "d" * 64)
SMALL = ScoringSettings(batch_size=8, part_images=20, max_pixels=10_000)


def make_files(folder: Path, count: int, *, side: int = 8, seed: int = 0) -> Path:
    """PNG files ``00000.png`` and so on, grey and coloured in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    colours = random_images(count, side, side, 3, seed=seed)
    for index, pixels in enumerate(colours):
        Image.fromarray(pixels[:, :, 0] if index % 2 else pixels).save(folder / f"{index:05}.png")
    return folder


def make_broken(folder: Path) -> None:
    """One file of each kind that has an image's name and can't be read."""
    Image.fromarray(np.zeros((101, 100), np.uint8)).save(folder / "00001-large.png")
    (folder / "00003-text.jpg").write_text("no image")
    (folder / "00005-empty.png").write_bytes(b"")
    (folder / "00007-cut.png").write_bytes((folder / "00000.png").read_bytes()[:90])
    (folder / "00009-gone.png").symlink_to(folder / "nowhere")


def score(
    out: Path,
    inputs: Inputs | Path,
    *,
    settings: ScoringSettings = SMALL,
    source: ModelSource = SOURCE,
    restart: bool = False,
    workers: int = 2,
    progress: ProgressCallback = ignore_progress,
) -> Counts:
    """Score as the command does, without a registry and a lock."""
    listed = list_inputs([inputs], as_dataset=True) if isinstance(inputs, Path) else inputs
    folder = scored_folder(out, listed, source, settings)
    folder.begin(restart=restart)
    return score_into(
        folder, make_patched(), listed, source, settings, workers=workers, progress=progress
    )
