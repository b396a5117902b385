"""Servers on loopback that answer as they are told, and load to put on them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from benchmarks.serving.orders import ClosedLoop, Exchange, OpenLoop, Order, Target

Respond = Callable[[int], Awaitable[bytes | None]]
"""From a request's number, from 0, to the bytes of its answer, or None to hang up."""


def http_answer(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Any", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def label_answer(label: str = "cat") -> bytes:
    return http_answer(200, json.dumps({"predictions": [{"label": label}]}).encode())


def after(seconds: float, answer: bytes | None = None) -> Respond:
    """Give every request the same answer, that much later."""

    async def respond(_: int) -> bytes | None:
        await asyncio.sleep(seconds)
        return label_answer() if answer is None else answer

    return respond


class Server:
    """Answers requests until its event loop is cancelled."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._count = 0
        self.port = 0
        self.started = threading.Event()
        self.loop = asyncio.new_event_loop()

    def work(self) -> None:
        """For a thread of its own."""
        with suppress(asyncio.CancelledError), asyncio.Runner(loop_factory=lambda: self.loop) as on:
            on.run(self._run())

    def stop(self) -> None:
        """From another thread."""
        self.loop.call_soon_threadsafe(self._task.cancel)

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.started.set()
        async with server:
            await server.serve_forever()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
                await reader.readexactly(int(length))
                self._count += 1
                answer = await self._respond(self._count - 1)
                if answer is None:
                    return
                writer.write(answer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            return
        finally:
            writer.transport.abort()


@contextmanager
def serving(respond: Respond) -> Iterator[int]:
    """Run such a server in a thread of its own; gives its port."""
    server = Server(respond)
    thread = threading.Thread(target=server.work)
    thread.start()
    assert server.started.wait(60)
    try:
        yield server.port
    finally:
        server.stop()
        thread.join(60)
        assert not thread.is_alive()


def target(port: int, *labels: str) -> Target:
    exchanges = tuple(
        Exchange(body=b"\x00picture", labels=(label,)) for label in labels or ("cat",)
    )
    return Target(
        host="127.0.0.1",
        port=port,
        path="/predict?patches=none",
        headers={"Content-Type": "image/png"},
        exchanges=exchanges,
        reader="predictions",
    )


def closed(port: int, *, clients: int = 2, seconds: float = 0.5, **more: Any) -> Order:
    loop = ClosedLoop(clients=clients)
    more = {"grace_seconds": 2.0, **more}
    return Order(target=target(port), loop=loop, seconds=seconds, **more)


def steady(port: int, *, rate: float, connections: int, seconds: float, **more: Any) -> Order:
    loop = OpenLoop(arrivals="steady", rate=rate, connections=connections)
    more = {"grace_seconds": 2.0, **more}
    return Order(target=target(port), loop=loop, seconds=seconds, **more)
