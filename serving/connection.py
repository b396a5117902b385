"""A connection of the service's HTTP server, whose requests' heads are bounded."""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from collections.abc import Callable
from typing import Any, ClassVar

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

MAX_HEAD_BYTES = 64 * 1024
"""Of a request line and headers, as uvicorn has it with h11; the piece that they arrive in, of up
to 256 KiB, comes on top."""

MAX_ARRIVAL_SECONDS = 30.0
"""Of a request to arrive, where nobody has been given it to read, or nobody reads it any more; and
without a step forward of an answer on its way to who asked."""


MAX_AT_ONCE = 32
"""Of answers that are written without a task, to what arrives in one piece."""


class BoundedConnection(HttpToolsProtocol):
    """Ends with requests that have no end, and with answers that nobody fetches.

    httptools keeps all headers, at some twenty times their size, and nothing else limits them or
    the time that they take: no route has been asked yet. What comes after a chunked body as
    trailers, which nobody reads, is not kept. Nor is there another limit to how long a body may
    take that was answered without being read. Whoever is given a body to read limits the time
    himself. An answer that is not fetched would be held for ever, also past the end of its
    connection, which waits for it.
    """

    door: ClassVar[Callable[[Any, Any], Any] | None] = None
    """Who answers a request, by its ASGI scope and the application: an application, or a response
    that is there already. The application if None."""

    _kept_back: tuple[RequestResponseCycle, Response] | None = None
    """A request whose answer is there, and whose body may be in the piece that is read now."""
    _at_once = 0
    _is_in_head = False
    _head_bytes = 0
    _arriving_since: float | None = None
    _unfetched = (0.0, 0)
    """Bytes of answers that the system does not take yet, and when these last were fewer."""
    _watch: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Somebody has connected, and now has to send something."""
        super().connection_made(transport)
        self._arriving_since = self.loop.time()
        self._watch = self.loop.call_later(MAX_ARRIVAL_SECONDS, self._close_if_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._arriving_since = None
        super().on_message_complete()
        if self._kept_back is not None:
            kept, self._kept_back = self._kept_back, None
            self._answer_at_once(*kept)
        elif self.cycle.response_complete and not self.pipeline:
            # Answered before its body was there, which has ended the wait for the next request.
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0
        self._arriving_since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, is whole."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The request's body is next."""
        self._is_in_head = False
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        door = type(self).door
        answer = app if door is None else door(cycle.scope, app)
        is_turn = self._at_once < MAX_AT_ONCE and not self.flow.write_paused
        if not (isinstance(answer, Response) and is_turn):
            super()._start_asgi_task(cycle, answer)
        elif cycle.more_body:
            self._kept_back = cycle, answer
        else:
            self._answer_at_once(cycle, answer)

    def _answer_at_once(self, cycle: RequestResponseCycle, answer: Response) -> None:
        """Send the answer to a request that is whole, as a task of an application would."""
        self._at_once += 1
        cycle.body = bytearray()
        head = [STATUS_LINE[answer.status_code]]
        for name, value in (*self.server_state.default_headers, *answer.raw_headers):
            head += (name, b": ", value, b"\r\n")
        if not cycle.keep_alive:
            head.append(b"connection: close\r\n")
        self.transport.write(b"".join((*head, b"\r\n", answer.body)))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        if self.pipeline:  # which may be long, and would be gone through within itself
            self.loop.call_soon(cycle.on_response)
        else:
            cycle.on_response()

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived; those that all belong to one head count."""
        was_in_head = self._is_in_head
        self._at_once = 0
        if self._arriving_since is None:
            self._arriving_since = self.loop.time()
        super().data_received(data)
        if self._kept_back is not None:  # more of the body is to come: a task waits for nothing
            (cycle, answer), self._kept_back = self._kept_back, None
            super()._start_asgi_task(cycle, answer)  # type: ignore[arg-type]
        if was_in_head and self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response(f"at most {MAX_HEAD_BYTES} bytes of headers a request")

    def _close_if_late(self) -> None:
        """Look, at least every so many seconds, how long a request or an answer is on its way."""
        now, seconds = self.loop.time(), MAX_ARRIVAL_SECONDS
        if self._is_stuck(now):
            self.transport.abort()
            return
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if self._arriving_since is not None and not is_answering:
            seconds -= now - self._arriving_since
            if seconds <= 0:
                self.transport.close()  # and looks on whether what was answered is fetched
                seconds = MAX_ARRIVAL_SECONDS
        self._watch = self.loop.call_later(seconds, self._close_if_late)

    def _is_stuck(self, now: float) -> bool:
        unfetched = self.transport.get_write_buffer_size()
        since, before = self._unfetched
        if not 0 < before <= unfetched:
            self._unfetched = (now, unfetched)
            return False
        return now - since >= MAX_ARRIVAL_SECONDS
