"""Requests that wait for the networks, and the batches that they go through them in."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Condition, Thread
from time import perf_counter

from serving.engine.answers import Answers, joined
from serving.engine.engine import Engine
from serving.engine.prepared import Prepared, Unprepared
from serving.errors import NotReadyError

logger = logging.getLogger(__name__)

_END_SECONDS = 10.0


class Reason(StrEnum):
    """Why a batch went through the networks when it did."""

    FULL = "full"
    WAITED = "waited"
    AT_ONCE = "at_once"


@dataclass(frozen=True)
class BatchReport:
    """One batch, after it ran.

    Attributes:
        images: in it, of one or several requests.
        reason: why it began when it did.
        waited_seconds: of each request in it, since it was handed over.
        weak_seconds: in the weak network.
        patches_seconds: in all class modules together.
    """

    images: int
    reason: Reason
    waited_seconds: tuple[float, ...]
    weak_seconds: float
    patches_seconds: float


@dataclass(eq=False)
class _Waiting:
    """A request's images, of which some may be through."""

    engine: Engine
    prepared: Prepared | Unprepared
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Answers]
    since: float
    taken: int = 0
    answers: list[Answers] = field(default_factory=list)

    @property
    def left(self) -> int:
        return len(self.prepared) - self.taken


@dataclass(frozen=True)
class _Share:
    """What a batch takes of a request."""

    request: _Waiting
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def part(self) -> Prepared | Unprepared:
        """The images themselves."""
        return self.request.prepared.slice(self.start, self.stop)


class Batcher:
    """Runs all networks of a process, one batch after the other, in a thread of its own.

    What is in a batch asks one engine, but may choose different patches. A request that is larger
    than a batch goes to the back of the queue after each, so that small ones don't wait for all
    of it. A request whose future was cancelled is dropped before it runs.

    Args:
        max_images: of one batch; bounds the memory.
        wait_seconds: how long a batch that is not full waits for more, from when its first
            request was handed over; 0 runs what is there as soon as the networks are free.
        report: told of each batch.
    """

    def __init__(
        self,
        *,
        max_images: int = 64,
        wait_seconds: float = 0.0,
        report: Callable[[BatchReport], None] = lambda report: None,
    ) -> None:
        self._max_images = max_images
        self._wait_seconds = wait_seconds
        self._report = report
        self._queue: deque[_Waiting] = deque()
        self._changed = Condition()
        self._is_closed = False
        self._thread = Thread(target=self._work, name="patchbay-batches", daemon=True)
        self._thread.start()

    async def submit(self, engine: Engine, prepared: Prepared | Unprepared) -> Answers:
        """Wait for the answers to one request's images; the event loop stays free.

        Args:
            engine: whose networks run.
            prepared: by it; or images to be prepared with the rest of the batch.

        Raises:
            NotReadyError: if the service is stopping.
            Exception: whatever the networks raised on these images.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(engine, prepared, loop, loop.create_future(), perf_counter())
        with self._changed:
            if self._is_closed:
                raise _stopping()
            self._queue.append(waiting)
            self._changed.notify()
        return await waiting.future

    def close(self) -> None:
        """End the thread after the batch that runs; what still waits gets an error."""
        with self._changed:
            self._is_closed = True
            waiting, self._queue = self._queue, deque()
            self._changed.notify()
        _deliver([(one, _stopping()) for one in waiting])
        self._thread.join(_END_SECONDS)

    def _work(self) -> None:
        while True:
            with self._changed:
                reason = self._wait_for_a_batch()
                if reason is None:
                    return
                batch = self._take()
            try:
                self._run(batch, reason)
            except Exception as error:  # of our own; nobody may wait for ever, now or later
                logger.exception("a batch could not be brought to its end")
                _deliver([(share.request, error) for share in batch])
            del batch  # it holds a model, which may go while the next one is waited for

    def _wait_for_a_batch(self) -> Reason | None:
        """Why a batch goes now; None if the thread has to end. Holds the lock."""
        while True:
            if self._is_closed:
                return None
            if not self._queue:
                self._changed.wait()
                continue
            first = self._queue[0]
            if self._images_for(first.engine) >= self._max_images:
                return Reason.FULL
            if not self._wait_seconds:
                return Reason.AT_ONCE
            left = first.since + self._wait_seconds - perf_counter()
            if left <= 0:
                return Reason.WAITED
            self._changed.wait(left)

    def _images_for(self, engine: Engine) -> int:
        return sum(one.left for one in self._queue if one.engine is engine)

    def _take(self) -> list[_Share]:
        """The next batch, off the queue. Holds the lock."""
        engine, room = self._queue[0].engine, self._max_images
        batch: list[_Share] = []
        behind: deque[_Waiting] = deque()
        unfinished: list[_Waiting] = []
        while self._queue and room:
            one = self._queue.popleft()
            if one.future.cancelled() or not one.left:  # nobody waits, or one part of it failed
                continue
            if one.engine is not engine:
                behind.append(one)
                continue
            stop = one.taken + min(one.left, room)
            batch.append(_Share(one, one.taken, stop))
            room -= stop - one.taken
            one.taken = stop
            if one.left:
                unfinished.append(one)
        self._queue.extendleft(reversed(behind))
        self._queue.extend(unfinished)
        return batch

    def _run(self, batch: list[_Share], reason: Reason) -> None:
        if not batch:
            return
        began = perf_counter()
        seconds = [0.0, 0.0]

        def timed(place: int, taken: float) -> None:
            seconds[place > 0] += taken

        done: list[tuple[_Waiting, Answers | Exception]] = []
        for share, found in zip(batch, _outcomes(batch, timed), strict=True):
            request = share.request
            if isinstance(found, Exception):
                request.taken = len(request.prepared)  # the rest of it needs no answers
                done.append((request, found))
                continue
            request.answers.append(found)
            if sum(map(len, request.answers)) == len(request.prepared):
                done.append((request, joined(request.answers)))
        _deliver(done)
        self._report(
            BatchReport(
                sum(map(len, batch)),
                reason,
                tuple(began - share.request.since for share in batch),
                *seconds,
            )
        )


def _outcomes(
    batch: list[_Share], timed: Callable[[int, float], None]
) -> list[Answers | Exception]:
    """The answers of each share; where the whole batch fails, each is run alone."""
    engine = batch[0].request.engine
    try:
        return [*engine.run([share.part() for share in batch], timed=timed)]
    except Exception as error:
        if len(batch) == 1:
            return [error]
        logger.exception("a batch failed; each request in it is run alone")
        return [_outcomes([share], timed)[0] for share in batch]


def _deliver(done: list[tuple[_Waiting, Answers | Exception]]) -> None:
    """Hand results to the event loops that wait for them, once a loop."""
    loops = {id(request.loop): request.loop for request, _ in done}
    for key, loop in loops.items():
        own = [(request, found) for request, found in done if id(request.loop) == key]
        try:
            loop.call_soon_threadsafe(_settle, own)
        except RuntimeError:  # the loop is closed: nobody waits any more
            logger.debug("%d answers came after the end of their event loop", len(own))


def _settle(done: list[tuple[_Waiting, Answers | Exception]]) -> None:
    for request, found in done:
        if request.future.done():  # cancelled meanwhile
            continue
        if isinstance(found, Exception):
            request.future.set_exception(found)
        else:
            request.future.set_result(found)


def _stopping() -> NotReadyError:
    return NotReadyError("stopping", "the service is stopping", retry_after_seconds=30)
