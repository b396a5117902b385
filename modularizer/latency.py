"""How long models take for one image, measured side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modularizer.classifier import inference
from modularizer.preprocessing import as_tensor

_WARM_UP = 3


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one image at a time, decoding and transport left out.

    Attributes:
        median_ms: of all repeats.
        low_ms: the lower quartile.
        high_ms: the upper quartile.
        n: how many repeats.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    n: int


def measure_latency(
    models: Sequence[nn.Module],
    images: NDArray[np.uint8],
    *,
    repeats: int = 30,
    clock_ns: Callable[[], int] = perf_counter_ns,
) -> list[Latency]:
    """Run models one after the other on single images, round after round.

    What disturbs the machine for a while disturbs all of them alike. Threads are those that torch
    may use.

    Args:
        models: take uint8 images (N, H, W, C); on the CPU.
        images: uint8 (N, H, W, C), at least one; they are used in turn.
        repeats: rounds that are measured, after three that are not.
        clock_ns: nanoseconds that only grow.
    """
    times = np.empty((repeats, len(models)))
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(inference(model))
        for number in range(-_WARM_UP, repeats):
            image = as_tensor(images[[number % len(images)]], torch.device("cpu"))
            for place, model in enumerate(models):
                began = clock_ns()
                model(image)
                taken_ms = (clock_ns() - began) / 1e6
                if number >= 0:
                    times[number, place] = taken_ms
    quartiles = np.percentile(times, (25, 50, 75), axis=0).T
    return [
        Latency(float(median), float(low), float(high), repeats) for low, median, high in quartiles
    ]
