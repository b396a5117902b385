"""What every request with images goes through: let in, read, decoded, batched, in time."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Scope

from serving.decoding.limits import ImageLimits
from serving.errors import DeadlineError, InternalError, RequestError
from serving.logs import with_fields
from serving.residency.state import ServiceState
from serving.routes.admission import Admission, Admitted
from serving.routes.body import read_body
from serving.telemetry import Telemetry

if TYPE_CHECKING:  # torch takes seconds to import: /livez answers before it is there
    from serving.engine.answers import Answers
    from serving.engine.engine import Engine
    from serving.engine.prepared import Ask, Image, Prepared, Unprepared

logger = logging.getLogger(__name__)

T = TypeVar("T")

SMALL_BYTES = 64 * 1024
"""What is read on the event loop up to this size: a hop to a thread and back costs more."""

SMALL_PIXELS = 64 * 1024
"""Of a request's images, as they are and as the networks take them, that wait as they are to be
prepared with others: a batch of the largest stays within what is prepared at once."""

SMALL_SCORES = 4096
"""Scores of an answer that is put into words on the event loop, some 3 ms; of an explanation, six
count for each patch, as it has six fields."""

# What is no fault of the client's, and no plain refusal, is worth a line also where not all are.
_LEVELS = {
    "internal": logging.ERROR,
    "non_finite_scores": logging.ERROR,
    "deadline_exceeded": logging.WARNING,
}
_NAME = re.compile(r"[A-Za-z0-9._:/+=@-]{1,100}")

ErrorAnswer = Callable[[RequestError], Response]


class Intake:
    """The way of a request to the networks and back, for any protocol.

    Args:
        state: where models are found.
        telemetry: what is counted.

    Attributes:
        limits: of the images of one request.
    """

    def __init__(self, state: ServiceState, telemetry: Telemetry) -> None:
        settings = state.settings
        self.state = state
        self.telemetry = telemetry
        self.limits = ImageLimits(
            max_images=settings.max_images,
            max_pixels=settings.max_pixels,
            max_request_pixels=settings.max_request_pixels,
        )
        self.admission = Admission(max_images=settings.queue_images, max_bytes=settings.queue_bytes)
        self._decoders = ThreadPoolExecutor(settings.decode_threads, "patchbay-decode")
        self._wording = ThreadPoolExecutor(1, "patchbay-answers")

    async def answered(
        self,
        request: Request,
        route: str,
        work: Callable[[Admitted], Awaitable[Response]],
        error_answer: ErrorAnswer,
    ) -> Response:
        """Do the work if there is room for it; its errors become answers, nothing is raised.

        An error that got as far as the server would end the connection of a client who may
        have other requests to send. How long it took is in the header ``Server-Timing``, and in
        ``X-Request-Id`` what it is called in the log: as the client calls it, or a new name.

        Args:
            request: whose work it is.
            route: what the request is counted under.
            work: the request's, given its share of what is let in.
            error_answer: an error in the words of the route's protocol.
        """
        began, request_id = perf_counter(), name_request(request.headers.get("x-request-id"))
        try:
            with self.admission.admit() as admitted:
                async with in_time(self.state.settings.deadline_seconds):
                    response = await work(admitted)
            outcome = "ok"
        except RequestError as error:
            outcome, response = error.code, error_answer(error)
        except ClientDisconnect:
            outcome, response = "disconnected", Response(status_code=400)
        except Exception:
            logger.exception("an error of our own", extra=with_fields(request_id=request_id))
            internal = InternalError("an error of the service's own; see its log")
            outcome, response = internal.code, error_answer(internal)
        return self._told(response, outcome, route, request_id, perf_counter() - began)

    def refused(self, scope: Scope, route: str, error_answer: ErrorAnswer) -> Response | None:
        """The answer to a request that there is no room for, if there is none.

        Args:
            scope: the request's.
            route: as for `answered`.
            error_answer: the same.
        """
        if not self.admission.is_full:
            return None
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        request_id = name_request(None if given is None else given.decode("latin-1"))
        error = self.admission.busy()
        return self._told(error_answer(error), error.code, route, request_id, 0.0)

    def _told(
        self, response: Response, outcome: str, route: str, request_id: str, seconds: float
    ) -> Response:
        """A response that is counted and logged, with what its headers say of it."""
        milliseconds = seconds * 1000
        self.telemetry.count_outcome(outcome, route)
        response.headers["Server-Timing"] = f"total;dur={milliseconds:.2f}"
        response.headers["X-Request-Id"] = request_id
        level = _LEVELS.get(outcome, logging.DEBUG)
        if logger.isEnabledFor(level):
            fields = with_fields(
                request_id=request_id,
                route=route,
                outcome=outcome,
                status=response.status_code,
                milliseconds=round(milliseconds, 2),
            )
            logger.log(level, "answered", extra=fields)
        return response

    async def read(self, request: Request, admitted: Admitted) -> bytes:
        """The whole body, within the limits."""
        settings = self.state.settings
        with self.telemetry.timed("read"):
            return await read_body(
                request,
                max_bytes=settings.max_body_bytes,
                seconds=settings.body_seconds,
                held=admitted.count_bytes,
            )

    async def in_a_thread(self, work: Callable[[], T]) -> T:
        """Do what takes longer than the event loop can wait, with as many others as may decode."""
        waiting = [work]
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._decoders, lambda: waiting.pop()()
            )
        finally:
            # Of a request that nobody waits for any more, and whose turn has not come, the bytes
            # would be held here until it comes, and are counted no longer.
            waiting.clear()

    async def worded(self, answers: Answers, respond: Callable[[], Response]) -> Response:
        """The networks' answers in a protocol's words: large ones in a thread of their own.

        The event loop stands still for about half as long then. Turning them into JSON's bytes is
        one step, in which no other thread of Python runs.

        Args:
            answers: counted once worded.
            respond: makes the response of them.
        """
        explained = 0 if answers.without is None else 6 * answers.without.size
        with self.telemetry.timed("answer"):
            if answers.scores.size + explained <= SMALL_SCORES:
                response = respond()
            else:
                loop = asyncio.get_running_loop()
                response = await loop.run_in_executor(self._wording, respond)
        self.telemetry.count_answers(answers)
        return response

    async def answer(
        self,
        engine: Engine,
        ask: Ask,
        admitted: Admitted,
        decode: Callable[[], Sequence[Image]],
        *,
        raw_bytes: int | None = None,
    ) -> Answers:
        """The networks' answers for a request's images.

        Args:
            engine: of a model that the caller leases.
            ask: what is wanted of the images.
            admitted: the request's share, which grows to its images.
            decode: gives the images.
            raw_bytes: how large they are where they need no decompression, so that few bytes are
                little work: these are read at once. None, or more, is left to a thread, as the
                event loop must not wait. Images that are small, as they are and as the networks
                take them, are prepared with the rest of their batch.

        Raises:
            RequestError: whatever ``decode`` raises; or if there are more images than there is
                room for.
        """
        with self.telemetry.timed("decode"):
            prepared = await self._prepare(engine, ask, decode, raw_bytes)
        admitted.count_images(len(prepared))
        return await self.state.batcher.submit(engine, prepared)

    async def _prepare(
        self,
        engine: Engine,
        ask: Ask,
        decode: Callable[[], Sequence[Image]],
        raw_bytes: int | None,
    ) -> Prepared | Unprepared:
        from serving.engine.prepared import Unprepared  # torch is there once there is an engine

        def prepared(images: Sequence[Image]) -> Prepared | Unprepared:
            return Unprepared(ask, images) if is_small(images) else engine.prepare(images, ask)

        def is_small(images: Sequence[Image]) -> bool:
            largest = max(engine.input_pixels(ask), *(math.prod(one.shape[:2]) for one in images))
            return len(images) * largest <= SMALL_PIXELS

        if raw_bytes is None or raw_bytes > SMALL_BYTES:
            return await self.in_a_thread(lambda: prepared(decode()))
        images = decode()
        if not is_small(images):
            return await self.in_a_thread(lambda: prepared(images))
        return Unprepared(ask, images)


def name_request(given: str | None) -> str:
    """What a request is called in the log: as it was given, if that is short and plain."""
    if given is not None and _NAME.fullmatch(given):
        return given
    # No secret: it only has to be another one. The system's own random numbers are read without
    # the interpreter's lock, and to have it back means to wait for the networks.
    return f"{random.getrandbits(64):016x}"


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """Stop the block when it takes longer.

    Raises:
        DeadlineError: if it does.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError as error:
        if not limit.expired():  # another one's
            raise
        raise DeadlineError(f"there was no answer within {seconds:g} seconds") from error
