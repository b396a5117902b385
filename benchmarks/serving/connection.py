"""One HTTP/1.1 connection that stays open, with as little work a request as Python allows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

_END_OF_HEAD = b"\r\n\r\n"
_LARGEST_HEAD_BYTES = 64 * 1024


class ConnectionEndedError(Exception):
    """The connection was closed, or was never made, before an answer was there."""


class UnreadableAnswerError(Exception):
    """What came back is no HTTP answer with a length."""


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: of HTTP.
        head: the bytes before the body, from the status line on.
        body: all of it.
    """

    status: int
    head: bytes
    body: bytes


def post_bytes(host: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole request as it goes over the wire, made once and sent often.

    Args:
        host: for the Host header, such as ``127.0.0.1:3000``.
        path: with the query, such as ``/predict?patches=none``.
        headers: besides Host and Content-Length.
        body: of the request.
    """
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + _END_OF_HEAD + body


class Connection(asyncio.Protocol):
    """Sends a request and waits for its answer, one at a time.

    Example:
        >>> async def ask(port: int) -> int:
        ...     connection = await Connection.open("127.0.0.1", port)
        ...     answer = await connection.ask(post_bytes("here", "/predict", {}, b"..."))
        ...     connection.close()
        ...     return answer.status
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiting: asyncio.Future[Answer] | None = None
        self.is_open = False

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Connect.

        Raises:
            ConnectionEndedError: if nobody takes the connection.
        """
        try:
            _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        except OSError as error:
            raise ConnectionEndedError(str(error)) from error
        return connection

    async def ask(self, request: bytes) -> Answer:
        """Send a whole request; gives its answer.

        Raises:
            ConnectionEndedError: if the connection ends first.
            UnreadableAnswerError: if the answer is not HTTP, or has no length.
        """
        if not self.is_open or self._transport is None:
            raise ConnectionEndedError("closed by the other side")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        """End it at once, whatever is on its way."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's: it is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's: it ended; who waits is told."""
        self.is_open = False
        self._fail(ConnectionEndedError(str(exc or "closed by the other side")))

    def data_received(self, data: bytes) -> None:
        """Asyncio's: some bytes of an answer."""
        self._buffer += data
        try:
            answer = _whole_answer(self._buffer)
        except UnreadableAnswerError as error:
            self.is_open = False
            self._fail(error)
            self.close()
            return
        if answer is None:
            return
        self._buffer.clear()
        if b"connection: close" in answer.head.lower():
            self.close()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)

    def _fail(self, error: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)


def _whole_answer(buffer: bytearray) -> Answer | None:
    """The answer in these bytes, or None while some are missing."""
    end = buffer.find(_END_OF_HEAD)
    if end < 0:
        if len(buffer) > _LARGEST_HEAD_BYTES:
            raise UnreadableAnswerError("no end of the headers")
        return None
    head = bytes(buffer[:end])
    status, length = _status(head), _length(head)
    start = end + len(_END_OF_HEAD)
    if len(buffer) < start + length:
        return None
    if len(buffer) > start + length:
        raise UnreadableAnswerError("more bytes than the answer's length")
    return Answer(status, head, bytes(buffer[start:]))


def _status(head: bytes) -> int:
    if not head.startswith(b"HTTP/1.") or not head[9:12].isdigit():
        raise UnreadableAnswerError(f"expected HTTP/1.1, found {head[:20]!r}")
    return int(head[9:12])


def _length(head: bytes) -> int:
    lowered = head.lower()
    place = lowered.find(b"\r\ncontent-length:")
    if place < 0:
        raise UnreadableAnswerError("an answer without Content-Length")
    value = lowered[place + 17 :].split(b"\r\n", 1)[0].strip()
    if not value.isdigit():
        raise UnreadableAnswerError(f"Content-Length {value!r}")
    return int(value)
