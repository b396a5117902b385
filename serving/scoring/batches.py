"""Batches of images: files decoded by a few threads, ahead of the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from modularizer.datasets.image_files import read_image_file
from modularizer.errors import DataError
from serving.scoring.answering import Answers, Model, Preparation, answer
from serving.scoring.inputs import Inputs, Unread

_LONGEST = 300  # characters of what is said of a broken image

Task = TypeVar("Task")
Done = TypeVar("Done")


@dataclass(frozen=True)
class Slice:
    """Images ``start`` up to ``stop`` of all, which go through the networks together."""

    start: int
    stop: int


@dataclass(frozen=True)
class Batch:
    """Images that were looked at together.

    Attributes:
        where: which of all images they are.
        names: of each.
        errors: of each, why there is no answer; None where there is one.
        answers: to those without an error, in order; None if there is none.
    """

    where: Slice
    names: Sequence[str]
    errors: Sequence[str | None]
    answers: Answers | None


@dataclass(frozen=True)
class _Read:
    where: Slice
    names: Sequence[str]
    errors: Sequence[str | None]
    inputs: Sequence[Tensor]


def slices(start: int, stop: int, size: int) -> Iterator[Slice]:
    """All images from ``start`` up to ``stop``, ``size`` at a time."""
    for begin in range(start, stop, size):
        yield Slice(begin, min(begin + size, stop))


def score_batches(
    model: Model,
    inputs: Inputs,
    wanted: Iterable[Slice],
    *,
    workers: int = 1,
    max_pixels: int | None = None,
) -> Iterator[Batch]:
    """Score images batch by batch.

    A batch's answers depend on nothing but its own images and the model, to the last bit; in
    which batch an image is changes its scores by no more than rounding. As many batches as there
    are workers and one more are held at a time.

    Args:
        model: on the CPU.
        inputs: the images.
        wanted: which of them, from front to back.
        workers: threads that read and decode.
        max_pixels: height times width of one image at most; None for the decoder's own limit.

    Raises:
        DataError: if an array can't be read; a broken file has an error in its place instead.
    """
    stopping = Event()

    def until_stopped(unread: Iterable[Unread]) -> Iterator[Unread]:
        for one in unread:
            if stopping.is_set():  # whoever waits for threads to end waits for one image
                raise CancelledError
            yield one

    def work(task: tuple[Slice, list[Unread]]) -> _Read:
        where, unread = task
        names = inputs.names(where.start, where.stop)
        return _read(model, where, names, until_stopped(unread), max_pixels)

    fetched = ((one, inputs.fetch(one.start, one.stop)) for one in wanted)
    try:
        for read in in_threads(work, fetched, workers, stopping):
            yield _answered(model, read)
    finally:
        inputs.close()


def in_threads(
    work: Callable[[Task], Done], tasks: Iterable[Task], workers: int, stopping: Event
) -> Iterator[Done]:
    """Do each task in one of a few threads; results come in the tasks' order.

    Tasks are taken, in the caller's thread, only as results are: ``workers`` and one more at most
    are ahead of what the caller has.

    Args:
        work: what to do; what it raises is raised where its result would come.
        tasks: as many as you like.
        workers: threads.
        stopping: set when no more results will be taken; work at hand had better end then.
    """
    pending: deque[Future[Done]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="patchbay-read") as pool:
        try:
            for task in tasks:
                pending.append(pool.submit(work, task))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            stopping.set()
            for one in pending:
                one.cancel()


def _read(
    model: Model,
    where: Slice,
    names: Sequence[str],
    unread: Iterable[Unread],
    max_pixels: int | None,
) -> _Read:
    preparation = Preparation(model)
    errors: list[str | None] = []
    for name, one in zip(names, unread, strict=True):
        try:
            preparation.add(_pixels(one, max_pixels))
            errors.append(None)
        except DataError as error:
            # By the name that the answer has: the same wherever the folder is mounted.
            said = str(error).replace(str(one), name) if isinstance(one, Path) else str(error)
            errors.append(" ".join(said.split())[:_LONGEST])
    return _Read(where, names, errors, preparation.inputs())


def _pixels(one: Unread, max_pixels: int | None) -> NDArray[np.uint8]:
    if isinstance(one, Path):
        return read_image_file(one, max_pixels=max_pixels)
    height, width, _ = one.shape
    if max_pixels is not None and height * width > max_pixels:
        raise DataError(f"it has {height} x {width} pixels, more than {max_pixels}")
    return one


def _answered(model: Model, read: _Read) -> Batch:
    if not read.inputs:
        return Batch(read.where, read.names, read.errors, None)
    answers = answer(model, read.inputs)
    finite = answers.finite
    if finite.all():
        return Batch(read.where, read.names, read.errors, answers)
    seen = iter(finite)
    errors = [
        error or (None if next(seen) else "the model gives NaN or infinite scores")
        for error in read.errors
    ]
    return Batch(read.where, read.names, errors, answers.take(finite) if finite.any() else None)
