"""Connections on which requests don't come to their end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any

import pytest
import uvicorn
from starlette.responses import Response

from serving import connection
from serving.connection import BoundedConnection
from tests.waiting import PATIENCE_SECONDS, wait_until

SECONDS = 0.6
LARGE = 64 * 2**20
UNREAD = b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers without reading; slowly, or at length, where it is asked to."""
    if scope["path"] == "/large":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(LARGE)})
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(3 * SECONDS)
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[uvicorn.Server]:
    """One that waits for a next request for long, or for as long as a test asks for."""
    keep_alive = getattr(request, "param", 60)
    monkeypatch.setattr(connection, "MAX_ARRIVAL_SECONDS", SECONDS if keep_alive == 60 else 600)
    config = uvicorn.Config(
        app,
        port=0,
        http=BoundedConnection,
        lifespan="off",
        log_level="error",
        timeout_keep_alive=keep_alive,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        sleep(0.01)
    yield server
    server.should_exit = True
    thread.join()


@pytest.fixture
def port(server: uvicorn.Server) -> int:
    return int(server.servers[0].sockets[0].getsockname()[1])


def seconds_until_closed(port: int, first: bytes, then: bytes) -> float:
    """How long a connection lasts on which something more is sent again and again."""
    began = monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(first)
        client.settimeout(0.05)
        while monotonic() - began < 60:
            try:
                client.sendall(then)
                if not client.recv(4096):
                    return monotonic() - began
            except TimeoutError:
                continue
            except ConnectionError:
                return monotonic() - began
    raise AssertionError("the connection was not closed")


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nHo", b"s"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"a: b\r\n"),
        (UNREAD, b"x"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTT", b""),
    ],
    ids=["nothing", "half a header", "headers", "a body unread", "empty lines", "a second one"],
)
def test_a_request_that_never_comes_whole_is_not_waited_for(
    port: int, first: bytes, then: bytes
) -> None:
    assert SECONDS * 0.9 < seconds_until_closed(port, first, then) < 60


def test_requests_that_come_whole_and_answers_that_take_long_are_let_be(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        for path in (b"/", b"/slow", b"/", b"/slow"):
            client.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(4096).endswith(b"ok")
        sleep(2.5 * SECONDS)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(4096).endswith(b"ok")


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"], ids=["goes on", "closes"])
def test_an_answer_that_nobody_fetches_is_not_held(
    server: uvicorn.Server, port: int, last: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n" + last + b"\r\n")
        state = server.server_state
        wait_until(lambda: state.total_requests > 0 and not state.connections)
        assert fetched(client) < LARGE


def test_an_answer_that_is_fetched_slowly_is_sent_whole(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a longer time than any one step may take."""
    monkeypatch.setattr(connection, "MAX_ARRIVAL_SECONDS", 5.0)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert fetched(client, pause_seconds=0.15) > LARGE


def fetched(client: socket.socket, *, pause_seconds: float = 0.0) -> int:
    """How many bytes still come."""
    found = 0
    while True:
        try:
            piece = client.recv(2**20)
        except ConnectionError:
            return found
        if not piece:
            return found
        found += len(piece)
        sleep(pause_seconds)


def body(path: bytes, *more: bytes) -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: x", b"Content-Length: 100000", *more]
    return b"\r\n".join([*lines, b"", bytes(100_000)])


def answered(client: socket.socket, ends: bytes) -> bytes:
    """What comes until there is such an end, or no more."""
    found = b""
    while not found.endswith(ends) and (more := client.recv(65536)):
        found += more
    return found


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks for /full is answered at once, for /other by another application."""

    async def other(scope: Any, receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}
        )
        await send({"type": "http.response.body", "body": b"other"})

    def chosen(scope: Any, given: Any) -> Any:
        full = Response("full", 503, {"Retry-After": "1"})
        return {"/full": full, "/other": other}.get(scope["path"], given)

    monkeypatch.setattr(BoundedConnection, "door", staticmethod(chosen))


@pytest.mark.usefixtures("door")
def test_the_door_chooses_who_answers_and_bodies_that_are_not_read_are_no_obstacle(
    port: int,
) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        for path in (b"/", b"/full", b"/full", b"/other", b"/full", b"/"):
            client.sendall(body(path))
            answer = {b"/full": b"full", b"/other": b"other"}.get(path, b"ok")
            found = answered(client, answer)
            assert found.endswith(answer)
            if answer == b"full":
                assert found.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
                assert b"\r\nretry-after: 1\r\n" in found
                assert b"\r\ndate: " in found
                assert b"connection: close" not in found


@pytest.mark.usefixtures("door")
def test_what_is_answered_at_once_stays_in_its_place_among_others(port: int) -> None:
    """Sent all at once, as HTTP allows; thousands of them are answered, too."""
    order = [b"/full", b"/slow", b"/full", b"/other", b"/full", b"/", b"/full"]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(b"".join(b"GET " + one + b" HTTP/1.1\r\nHost: x\r\n\r\n" for one in order))
        found = b""
        while found.count(b"full") < 4:
            found += client.recv(65536)
        heads = [one.rpartition(b"\r\n\r\n")[2] for one in found.split(b"HTTP/1.1 ")[1:]]
        assert heads == [b"full", b"ok", b"full", b"other", b"full", b"ok", b"full"]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        many = 3000
        first = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
        client.sendall(first + b"GET /full HTTP/1.1\r\nHost: x\r\n\r\n" * many)
        found = b""
        while found.count(b"\r\n\r\nfull") < many:
            more = client.recv(65536)
            assert more
            found += more


@pytest.mark.usefixtures("door")
def test_who_wants_the_connection_closed_has_it_closed(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(b"POST /full HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        found = answered(client, b"nothing")
        assert found.endswith(b"full")
        assert b"\r\nconnection: close\r\n" in found


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("server", [1], indirect=True)
@pytest.mark.parametrize("path", [b"/full", b"/"], ids=["at once", "by a task"])
@pytest.mark.parametrize("size", [0, 3, 100_000], ids=["no body", "a small one", "a large one"])
def test_who_was_answered_and_says_nothing_more_is_not_waited_for(
    port: int, path: bytes, size: int
) -> None:
    head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(head)
        assert client.recv(65536)
        with contextlib.suppress(ConnectionError):  # it may be too late for more
            client.sendall(bytes(size))
            answered(client, b"nothing")  # until it is closed


@pytest.mark.usefixtures("door")
def test_what_asks_a_thousand_times_at_once_and_fetches_nothing_is_not_answered_on_and_on(
    port: int,
) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        client.settimeout(2 * SECONDS)
        asked = b"GET /full HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
        sent = 0
        with contextlib.suppress(OSError):  # the server reads no more, or has had enough
            while sent < LARGE:
                sent += client.send(asked)
        assert sent < LARGE
