"""Held-out images to try the served model with by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modularizer.assembly.patched import PatchedClassifier
    from modularizer.datasets.images import ImageSet

_FIXED, _BROKEN, _OF_A_CLASS = 4, 1, 2


def write_samples(patched: PatchedClassifier, images: ImageSet, folder: Path) -> list[Path]:
    """A few images that the patch changes, and for each class a few that it leaves, as PNGs.

    They are picked for what they show, and say nothing about how often it happens.

    Args:
        patched: the served model.
        images: with its classes, in its order.
        folder: made if it is not there; what an earlier demo wrote there is removed.

    Returns:
        The files: up to four that the patches put right, one that they break, and two of each
        class with the same answer; ``4-changed-17.png`` is image 17, a four.
    """
    import numpy as np

    from modularizer.assembly.patched import predict_both
    from serving.client import png_bytes

    both = predict_both(patched, images.images)
    answers = both.scores.argmax(dim=1).numpy()
    weak_answers = both.weak_scores.argmax(dim=1).numpy()
    right, weak_right = answers == images.labels, weak_answers == images.labels
    same = answers == weak_answers
    picked = [("changed", index) for index in np.flatnonzero(right & ~weak_right)[:_FIXED]]
    picked += [("changed", index) for index in np.flatnonzero(~right & weak_right)[:_BROKEN]]
    for label in range(len(images.class_names)):
        found = np.flatnonzero(same & right & (images.labels == label))[:_OF_A_CLASS]
        picked += [("same", index) for index in found]
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("*-changed-*.png", "*-same-*.png"):
        for old in folder.glob(pattern):
            old.unlink()
    files = []
    for what, index in picked:
        name = images.class_names[int(images.labels[index])]
        path = folder / f"{name}-{what}-{index}.png"
        path.write_bytes(png_bytes(images.images[index]))
        files.append(path)
    return sorted(files)
