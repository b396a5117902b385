from __future__ import annotations

import asyncio

import pytest

from benchmarks.serving.connection import (
    Answer,
    Connection,
    ConnectionEndedError,
    UnreadableAnswerError,
    post_bytes,
)
from serving.launch import free_port
from tests.benchmarks.serving.servers import Respond, after, http_answer, label_answer, serving


def asked(respond: Respond, times: int = 1) -> list[Answer]:
    async def ask(port: int) -> list[Answer]:
        connection = await Connection.open("127.0.0.1", port)
        request = post_bytes(f"127.0.0.1:{port}", "/predict", {"X-Own": "1"}, b"body")
        try:
            return [await connection.ask(request) for _ in range(times)]
        finally:
            connection.close()

    with serving(respond) as port:
        return asyncio.run(ask(port))


def test_a_request_is_whole_http() -> None:
    request = post_bytes("127.0.0.1:80", "/predict?a=b", {"Content-Type": "image/png"}, b"\r\n\r\n")
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /predict?a=b HTTP/1.1",
        b"Host: 127.0.0.1:80",
        b"Content-Length: 4",
        b"Content-Type: image/png",
    ]
    assert body == b"\r\n\r\n"


def test_one_connection_takes_answer_after_answer() -> None:
    found = asked(after(0, http_answer(418, b"\r\n\r\nteapot", "x-own: 1")), times=3)
    assert [(one.status, one.body) for one in found] == [(418, b"\r\n\r\nteapot")] * 3
    assert b"x-own: 1" in found[0].head


def test_an_answer_in_pieces_is_put_together() -> None:
    answer, ended = label_answer(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for place in range(len(answer)):
            writer.write(answer[place : place + 1])
            await writer.drain()
            await asyncio.sleep(0.0005)
        writer.close()
        ended.set()

    async def ask() -> Answer:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        async with server:
            connection = await Connection.open("127.0.0.1", server.sockets[0].getsockname()[1])
            found = await connection.ask(post_bytes("here", "/", {}, b""))
            connection.close()
            await ended.wait()
            return found

    assert asyncio.run(ask()).body == answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nwithout a length", "without Content-Length"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "Content-Length b'-1'"),
        (b"SMTP nonsense\r\n\r\n", "expected HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\ntwo", "more bytes"),
        (b"HTTP/1.1 200 " + b"x" * 70_000, "no end of the headers"),
    ],
    ids=["no length", "negative", "not HTTP", "too long", "endless"],
)
def test_what_is_no_answer_is_told(answer: bytes, expected: str) -> None:
    with pytest.raises(UnreadableAnswerError, match=expected):
        asked(after(0, answer))


def test_a_connection_that_is_to_close_is_not_used_again() -> None:
    with pytest.raises(ConnectionEndedError):
        asked(after(0, http_answer(200, b"", "Connection: Close")), times=2)
    assert len(asked(after(0, http_answer(200, b"", "Connection: keep-alive")), times=2)) == 2


def test_who_hangs_up_or_is_not_there_is_told() -> None:
    async def hang_up(_: int) -> None:
        return None

    with pytest.raises(ConnectionEndedError):
        asked(hang_up)
    with pytest.raises(ConnectionEndedError):
        asyncio.run(Connection.open("127.0.0.1", free_port()))
