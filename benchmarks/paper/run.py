"""Doing the steps of a track, several at once, each in a process of its own; then it resumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.managers import SyncManager
from pathlib import Path
from typing import Any

from benchmarks.paper.images import TrackImages
from benchmarks.paper.track import Suite
from benchmarks.paper.workspace import Step, Workspace
from modularizer.progress import Progress

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Told:
    """How far a run is.

    Attributes:
        step: the step that something is told of.
        progress: how far it is; None when it is done.
        seconds: what the step took, if it is done.
        done: steps done.
        total: steps in all.
        seconds_left: for all that is left, by how fast it went so far; None if nothing is known.
    """

    step: str
    progress: Progress | None
    seconds: float
    done: int
    total: int
    seconds_left: float | None


Listener = Callable[[Told], None]


@dataclass(frozen=True)
class Errand:
    """All that a process needs to do a step; it can be pickled.

    Attributes:
        suite: what it is a step of.
        seed: of the splits.
        images: the folder that they are in; None for the environment's choice.
        step: what to do.
        folder: the workspace's.
        device: where networks run.
    """

    suite: Suite
    seed: int
    images: Path | None
    step: Step
    folder: Path
    device: str


class OutOfTimeError(Exception):
    """The time that was given is over; what is done is kept."""


@dataclass
class Pace:
    """How fast work goes, in effort a second over all processes."""

    began: float
    effort: float = 0.0

    def seconds_left(self, effort: float, now: float) -> float | None:
        """How long that much more effort takes; None before anything is done."""
        if not self.effort:
            return None
        return effort * (now - self.began) / self.effort


def run_steps(
    errands: Iterable[Errand],
    *,
    workers: int,
    threads: int = 1,
    seconds: float | None = None,
    told: Listener = lambda _: None,
) -> bool:
    """Do what is not done yet, each step as soon as all that it needs is.

    Args:
        errands: each after what it needs.
        workers: processes.
        threads: of torch in each.
        seconds: no more than about that many; work under way ends at its next epoch.
        told: hears of epochs and of steps.

    Returns:
        Whether all is done; False if the time was over before.

    Raises:
        Exception: whatever a step raised; others that were under way are stopped.
    """
    every = list(errands)
    done = {one.step.name for one in every if Workspace(one.folder).is_done(one.step)}
    pending = [one for one in every if one.step.name not in done]
    if not pending:
        return True
    context = get_context("spawn")
    with context.Manager() as manager:
        return _Run(manager, len(every), done, pending, told).all(
            ProcessPoolExecutor(
                min(workers, len(pending)),
                mp_context=context,
                initializer=_prepare_process,
                initargs=(threads,),
            ),
            None if seconds is None else time.monotonic() + seconds,
        )


class _Run:
    def __init__(
        self,
        manager: SyncManager,
        total: int,
        done: set[str],
        pending: list[Errand],
        told: Listener,
    ) -> None:
        self.messages: Any = manager.Queue()
        self.stop: Any = manager.Event()
        self.total = total
        self.done = done
        self.pending = pending
        self.told = told
        self.pace = Pace(time.monotonic())
        self.left = {one.step.name: one.step.effort for one in pending}
        self.effort = dict(self.left)

    def all(self, pool: ProcessPoolExecutor, until: float | None) -> bool:
        running: dict[Future[float], Errand] = {}
        finished = False
        try:
            while self.pending or running:
                late = until is not None and time.monotonic() > until
                if late:
                    self.stop.set()
                    self.pending.clear()
                for errand in [one for one in self.pending if self._is_ready(one)]:
                    self.pending.remove(errand)
                    running[pool.submit(_perform, errand, self.messages, self.stop)] = errand
                ended, _ = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                self._listen()
                for future in ended:
                    self._end(running.pop(future), future)
            finished = len(self.done) == self.total
        finally:
            self.stop.set()
            pool.shutdown(cancel_futures=True)
        return finished

    def _is_ready(self, errand: Errand) -> bool:
        return all(need.name in self.done for need in errand.step.needs)

    def _end(self, errand: Errand, future: Future[float]) -> None:
        try:
            seconds = future.result()
        except OutOfTimeError:
            return
        name = errand.step.name
        self.done.add(name)
        self._move(name, 0.0)
        self._tell(name, None, seconds)

    def _listen(self) -> None:
        while not self.messages.empty():
            name, progress = self.messages.get()
            share = progress.done / max(progress.total, 1)
            self._move(name, (1 - share) * self.effort[name])
            self._tell(name, progress, 0.0)

    def _move(self, name: str, left: float) -> None:
        if left < self.left[name]:
            self.pace.effort += self.left[name] - left
            self.left[name] = left

    def _tell(self, name: str, progress: Progress | None, seconds: float) -> None:
        left = self.pace.seconds_left(sum(self.left.values()), time.monotonic())
        self.told(Told(name, progress, seconds, len(self.done), self.total, left))


def _prepare_process(threads: int) -> None:
    import logging
    import warnings

    import torch

    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")  # other people's deprecations are not for our users
    logging.getLogger().setLevel(logging.ERROR)


def _perform(errand: Errand, messages: Any, stop: Any) -> float:
    """Do a step and keep its result; gives the seconds that it took."""
    from benchmarks.paper.work import Job, perform

    def tell(progress: Progress) -> None:
        messages.put((errand.step.name, replace(progress, metrics=dict(progress.metrics))))
        if stop.is_set():
            raise OutOfTimeError

    if stop.is_set():
        raise OutOfTimeError
    workspace = Workspace(errand.folder)
    began = time.monotonic()
    images = TrackImages(errand.suite.dataset, errand.seed, errand.images)
    job = Job(errand.suite, images, errand.step, workspace, errand.device, tell)
    result = perform(job)
    seconds = time.monotonic() - began
    workspace.keep(errand.step, result, seconds)
    for checkpoint in workspace.place(errand.step).glob("*.checkpoint"):
        checkpoint.unlink()
    return seconds
