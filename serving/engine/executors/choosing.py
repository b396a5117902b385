"""Which executor runs a model fastest here: measured when the model is loaded."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

import numpy as np
import torch

from serving.engine.engine import Engine
from serving.engine.executors.executor import Executor
from serving.engine.executors.graphs import GraphExecutor, Precision
from serving.engine.executors.in_turn import SequentialExecutor
from serving.engine.executors.threads import ThreadExecutor
from serving.errors import SettingsError

logger = logging.getLogger(__name__)

_BATCHES = (1, 8)
_REPEATS = 7
_WORTH_IT = 0.9


def possible_executors(
    device: str, *, batch_size: int, precision: Precision = "float32"
) -> tuple[Executor, ...]:
    """The executors that a model may run on; the first where nothing is measured.

    Args:
        device: ``cpu``, ``cuda``, or ``auto`` (CUDA where there is a device).
        batch_size: images that go through the networks at once.
        precision: of the arithmetic; TF32 is CUDA's.

    Raises:
        SettingsError: if CUDA or its arithmetic is asked for and there is none.
    """
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise SettingsError(
            "PATCHBAY_DEVICE=cuda, but torch finds no CUDA device here; use cpu or auto"
        )
    if device != "cpu" and has_cuda:
        return (GraphExecutor(batch_size=batch_size, precision=precision),)
    if precision == "tf32":
        raise SettingsError(
            "PATCHBAY_PRECISION=tf32 is arithmetic of GPUs, and the networks run on a CPU; "
            "use float32"
        )
    return (SequentialExecutor(), ThreadExecutor()) if _cores() > 1 else (SequentialExecutor(),)


def choose_executor(
    engine: Engine, executors: Sequence[Executor], *, clock: Callable[[], float] = perf_counter
) -> Executor:
    """The executor that is fastest for a model, on one image and on eight.

    They are timed in turns, by the median of seven runs each. Another than the first is taken if
    it takes at most nine tenths of the first's time, as small differences are noise.

    Args:
        engine: of the model; it keeps its own executor.
        executors: at least one, on the engine's device.
        clock: gives seconds.
    """
    if len(executors) == 1:
        return executors[0]
    own = engine.executor
    try:
        seconds = dict.fromkeys(executors, 0.0)
        for images in _BATCHES:
            for executor, found in _timed(engine, executors, images, clock).items():
                seconds[executor] += found / images
    finally:
        engine.executor = own
    first, *others = executors
    best = min(others, key=seconds.__getitem__)
    chosen = best if seconds[best] <= _WORTH_IT * seconds[first] else first
    told = ", ".join(f"{type(one).__name__} {1000 * seconds[one]:.2f} ms" for one in executors)
    logger.info("%s runs by %s (%s)", engine.identity.uri, type(chosen).__name__, told)
    return chosen


def _timed(
    engine: Engine, executors: Sequence[Executor], images: int, clock: Callable[[], float]
) -> dict[Executor, float]:
    """The median seconds of a batch, by executor."""
    preprocessing = engine.model.weak.preprocessing
    black = np.zeros((*preprocessing.size, preprocessing.channels), np.uint8)
    prepared = engine.prepare([black] * images, engine.ask())
    found: dict[Executor, list[float]] = {executor: [] for executor in executors}
    for repeat in range(1 + _REPEATS):
        for executor in executors:
            engine.executor = executor
            began = clock()
            engine.run([prepared])
            if repeat:  # the first is the slowest
                found[executor].append(clock() - began)
    return {executor: median(seconds) for executor, seconds in found.items()}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
