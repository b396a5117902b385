"""Doing the steps of a track, several at once, each in a process of its own; then it resumes."""

from __future__ import annotations

import logging
import signal
import time
import warnings
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.paper.images import TrackImages
from benchmarks.paper.track import Suite
from benchmarks.paper.workspace import Step, Workspace
from modularizer.errors import ModularizerError
from modularizer.progress import Progress

POLL_SECONDS = 0.5
HELD_OUT_LOG = "held-out.log"
TELLING = 0.03
"""The share of the work after which how long it took says how long the rest will take."""


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


class Tally:
    """How much of some steps is done, and how fast it goes, whichever call of `run_steps` does it.

    Args:
        steps: all of them, done or not.
        done: the names of those that are done already.
    """

    def __init__(self, steps: Iterable[Step], done: Container[str]) -> None:
        every = list(steps)
        self.total = len(every)
        self.effort = {step.name: step.effort for step in every if step.name not in done}
        self.left = dict(self.effort)
        self.done = self.total - len(self.left)
        self.began = time.monotonic()

    def take(self, name: str, message: Progress | float) -> Told:
        """Take note of a step's progress, or of the seconds that it took."""
        if isinstance(message, Progress):
            if message.stage != "importance":  # what comes before a search is little of it
                share = 1 - message.done / max(message.total, 1)
                self.left[name] = min(self.left[name], share * self.effort[name])
            return Told(name, message, 0.0, self.done, self.total, self._seconds_left())
        del self.left[name]
        self.done += 1
        return Told(name, None, message, self.done, self.total, self._seconds_left())

    def _seconds_left(self) -> float | None:
        """How long all that is left takes; None before enough is done to tell."""
        left, whole = sum(self.left.values()), sum(self.effort.values())
        did = whole - left
        return left * (time.monotonic() - self.began) / did if did > TELLING * whole else None


def run_steps(
    errands: Iterable[Errand],
    *,
    workers: int,
    threads: int = 1,
    seconds: float | None = None,
    tally: Tally | None = None,
    told: Listener = lambda _: None,
) -> bool:
    """Do what is not done yet, each step as soon as all that it needs is.

    Args:
        errands: each after what it needs, or with what it needs done already.
        workers: processes.
        threads: of torch in each.
        seconds: no more than about that many; work under way ends at its next epoch.
        tally: of these steps and of others that are done in other calls; None for these alone.
        told: hears of epochs and of steps.

    Returns:
        Whether all is done; False if the time was over before.

    Raises:
        Exception: whatever a step raised; others that were under way are stopped.
        ValueError: if a step needs what is neither done nor among the errands before it.
    """
    every = list(errands)
    done = {one.step.name for one in every if Workspace(one.folder).is_done(one.step)}
    pending = [one for one in every if one.step.name not in done]
    done |= _done_elsewhere(every)
    count = tally or Tally((one.step for one in every), done)
    crew = _Crew(workers, threads)
    until = None if seconds is None else time.monotonic() + seconds
    with crew:  # on the way out whatever still runs is ended; its last checkpoint stays
        while pending or crew.running:
            while crew.has_room and (errand := _next_ready(pending, done)) is not None:
                crew.start(errand)
            for name, message in crew.listen():
                if isinstance(message, float):
                    done.add(name)
                if message is not None:
                    told(count.take(name, message))
            if until is not None and time.monotonic() > until:
                crew.stop.set()
                pending.clear()
    return all(one.step.name in done for one in every)


def _next_ready(pending: list[Errand], done: Container[str]) -> Errand | None:
    """An errand that waits for nothing any more, taken off the list."""
    for errand in pending:
        if all(need.name in done for need in errand.step.needs):
            pending.remove(errand)
            return errand
    return None


def _done_elsewhere(errands: list[Errand]) -> set[str]:
    """The steps that others need and that are no errands themselves; all have to be done."""
    found: set[str] = set()
    before: set[str] = set()
    for errand in errands:
        for need in errand.step.needs:
            if need.name in before | found:
                continue
            if not Workspace(errand.folder).is_done(need):
                raise ValueError(f"{errand.step.name} needs {need.name}, which is not done")
            found.add(need.name)
        before.add(errand.step.name)
    return found


class _Crew:
    """Processes, each at a step.

    Args:
        size: how many at once.
        threads: of torch in each.
    """

    def __init__(self, size: int, threads: int) -> None:
        self.context = get_context("spawn")
        self.stop = self.context.Event()
        self.size = size
        self.threads = threads
        self.running: dict[Connection, tuple[str, SpawnProcess]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _, process in self.running.values():
            process.terminate()
        for _, process in self.running.values():
            process.join()

    @property
    def has_room(self) -> bool:
        """Whether another step can be started."""
        return len(self.running) < self.size

    def start(self, errand: Errand) -> None:
        """Begin a step in a process of its own."""
        here, there = self.context.Pipe(duplex=False)
        process = self.context.Process(
            target=_perform, args=(errand, there, self.stop, self.threads), daemon=True
        )
        process.start()
        there.close()
        self.running[here] = (errand.step.name, process)

    def listen(self) -> Iterator[tuple[str, Progress | float | None]]:
        """What steps say within the next while: progress, seconds when done, None if given up.

        Raises:
            Exception: what a step raised.
            ModularizerError: if a process ended without a word.
        """
        for connection in wait(self.running, timeout=POLL_SECONDS):
            assert isinstance(connection, Connection)
            name, process = self.running[connection]
            try:
                message = connection.recv()
            except EOFError:
                process.join()
                raise ModularizerError(
                    f"{name} ended with exit code {process.exitcode} and without a word; memory "
                    "may have been short: try fewer workers"
                ) from None
            if isinstance(message, Exception):
                raise message
            if not isinstance(message, Progress):
                del self.running[connection]
                process.join()
            yield name, message


def _perform(errand: Errand, out: Connection, stop: Event, threads: int) -> None:
    """Do a step and keep its result; send progress, and in the end the seconds that it took."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us
    logging.getLogger().setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # other people's deprecations are not for our users
    try:
        out.send(_seconds_to_perform(errand, out, stop, threads))
    except OutOfTimeError:
        out.send(None)
    except BrokenPipeError:  # whoever started us is gone; the last checkpoint stays
        return
    except Exception as error:
        try:
            out.send(error)
        except Exception:  # some can't be sent
            out.send(RuntimeError(f"{type(error).__name__}: {error}"))


def _seconds_to_perform(errand: Errand, out: Connection, stop: Event, threads: int) -> float:
    import torch

    from benchmarks.paper.work import Job, perform

    torch.set_num_threads(threads)
    _log_held_out(errand.folder)

    def tell(progress: Progress) -> None:
        out.send(replace(progress, metrics=dict(progress.metrics)))
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


def _log_held_out(folder: Path) -> None:
    """Write down in the workspace when held-out images are given out, and for what."""
    log = logging.getLogger("modularizer.datasets.held_out")
    handler = logging.FileHandler(folder / HELD_OUT_LOG, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
