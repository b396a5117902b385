"""What a patch gains over all classes of a weak model, as one number with its spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modularizer.metrics import Interval, Labels

Draws = NDArray[np.float64]


def macro_f1(labels: Labels, predicted: Labels) -> float:
    """The mean F1 of the classes that have images.

    Args:
        labels: int64 (N,), at least one.
        predicted: int64 (N,).
    """
    return float(_of_counts(np.ones((1, len(labels))), labels, predicted)[0])


def macro_f1_gain(
    labels: Labels, weak: Labels, patched: Labels, *, draws: int = 2000, seed: int = 0
) -> tuple[float, Interval]:
    """What macro F1 gains, and its 95 % bootstrap interval over images.

    Images are drawn anew within each class, the same ones for both models.

    Args:
        labels: int64 (N,), at least one.
        weak: what the weak model answers, int64 (N,).
        patched: what the patched model answers, int64 (N,).
        draws: bootstrap samples.
        seed: of the resampling.
    """
    cells, sizes = np.unique(np.stack([labels, weak, patched]), axis=1, return_counts=True)
    generator = np.random.default_rng(seed)
    counts = np.empty((draws, len(sizes)))
    for label in np.unique(labels):
        own = np.flatnonzero(cells[0] == label)
        images = int(sizes[own].sum())
        counts[:, own] = generator.multinomial(images, sizes[own] / images, size=draws)
    spread = _of_counts(counts, cells[0], cells[2]) - _of_counts(counts, cells[0], cells[1])
    low, high = np.percentile(spread, (2.5, 97.5))
    gain = macro_f1(labels, patched) - macro_f1(labels, weak)
    return gain, Interval(float(low), float(high))


def _of_counts(counts: Draws, labels: Labels, predicted: Labels) -> Draws:
    """Macro F1 of samples: (samples,).

    Args:
        counts: (samples, cells), how many images of each cell a sample has.
        labels: (cells,).
        predicted: (cells,).
    """
    classes = np.unique(labels)
    is_class = (labels[:, None] == classes).astype(np.float64)
    says_class = (predicted[:, None] == classes).astype(np.float64)
    right = counts @ (is_class * says_class)
    f1 = 2 * right / (counts @ is_class + counts @ says_class)
    mean: Draws = f1.mean(axis=1)
    return mean
