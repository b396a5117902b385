"""Hostile use of HTTP itself, against the real service."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Iterator

import httpx
import pytest

from serving.client import npy_bytes
from serving.launch import RunningService
from serving.routes.odd_paths import NO_ROUTE
from tests.serving.traffic import IMAGES, Traffic
from tests.waiting import PATIENCE_SECONDS, wait_until

BODY = npy_bytes(IMAGES)
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(BODY)
LOCAL = b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"


def connect(service: RunningService) -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)


def status_of(service: RunningService, raw: bytes) -> int | None:
    """The status of the answer to these bytes; None if the connection just ends."""
    with connect(service) as client, contextlib.suppress(ConnectionError):
        client.sendall(raw)
        answer = client.recv(4096)
        if answer:
            return int(answer.split(b" ")[1])
    return None


@pytest.mark.parametrize(
    "raw",
    [
        b"\0\1\2\xff\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"a" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"BREW /predict HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT elsewhere:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/models/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /predict?patches=%ff&%00=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\na",
        b"POST /predict HTTP/1.1\r\nX-Request-Id: a\1b\r\nContent-Length: 0\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Type: \xff\xfe\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ],
    ids=range(19),
)
def test_what_is_hardly_http(service: RunningService, raw: bytes) -> None:
    status = status_of(service, raw)
    assert status is None or 400 <= status < 500


@pytest.mark.parametrize(
    "path",
    [
        b"GET /../../etc/passwd",
        b"GET /page/../../service.py",
        b"GET /page/..%2f..%2fservice.py",
        b"GET /page/%2e%2e/service.py",
        b"GET /page//etc/passwd",
        b"GET /samples/../../../etc/passwd",
        b"GET /samples/..%2f..%2fetc%2fpasswd",
        b"GET /samples/..\\..\\a",
        b"GET /v2/models/../../../etc/passwd",
        b"GET /v2/models/..%2f..%2fetc%2fpasswd",
        b"GET /v2/models/served/versions/..%2f1",
        b"POST /v2/models/..%2fserved/infer",
        b"POST /v2/repository/models/../load",
        b"POST /v2/repository/models/%2e%2e/load",
        b"POST /v2/repository/models/..%2f..%2fetc/load",
        b"POST /v2/repository/models/%00/load",
        b"POST /v2/repository/models/a%0ab/load",
        b"POST /v2/repository/models/models:%2fserved/load",
        b"POST /v2/repository/models/~/unload",
        b"POST /v2/repository/models/" + b"a" * 5000 + b"/load",
    ],
)
def test_names_that_lead_elsewhere(service: RunningService, path: bytes) -> None:
    assert status_of(service, path + LOCAL) in (400, 404)


@pytest.mark.parametrize("path", [b"/%0a", b"/v2/models/a%0ab", b"/predict%0a/", b"*"])
def test_odd_paths_are_answered_like_others(service: RunningService, path: bytes) -> None:
    with connect(service) as client:
        client.sendall(b"OPTIONS " + path + LOCAL.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert error == NO_ROUTE if path.startswith(b"/v2") else error["message"] == NO_ROUTE


@pytest.mark.parametrize("name", ["../served", "/etc/passwd", "..", "a/../../b", "\0", "a" * 10**5])
def test_parameters_that_lead_elsewhere(connection: httpx.Client, name: str) -> None:
    for parameters in (
        {"alias": name},
        {"version": name},
        {"config": name},
        {"config": f'"{name}"'},
    ):
        response = connection.post(
            "/v2/repository/models/served/load", json={"parameters": parameters}
        )
        assert 400 <= response.status_code < 500
        assert isinstance(response.json()["error"], str)
        assert "root:" not in response.text


@pytest.mark.parametrize(
    "flood",
    [
        b"a: b\r\n" * 10**6,
        b"a: " + b"b" * 5 * 10**6,
        b"\r\n".join(b"x-%d: 1" % n for n in range(60_000)),
    ],
    ids=["without an end", "one", "many"],
)
def test_header_floods(service: RunningService, flood: bytes) -> None:
    status = status_of(service, b"GET /livez HTTP/1.1\r\nHost: x\r\n" + flood)
    assert status in (None, 400)


def test_many_whole_headers_are_one_request(service: RunningService) -> None:
    headers = b"".join(b"x-%d: 1\r\n" % number for number in range(4000))
    assert status_of(service, b"GET /livez HTTP/1.1\r\n" + headers + b"\r\n") == 200


@contextlib.contextmanager
def opened(service: RunningService, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(service)) for _ in range(count)]


@pytest.mark.parametrize("start", [b"", b"POST /pre", HEAD[:-2], HEAD, HEAD + BODY[:9]])
def test_two_hundred_that_send_a_byte_at_a_time(
    service: RunningService, ordinary_clients: Traffic, start: bytes
) -> None:
    with opened(service, 200) as slow:
        for client in slow:
            client.sendall(start)
        for _ in range(3):
            ordinary_clients.wait_for_answers()
            for client in slow:
                client.sendall(b"\r" if start == b"" else b"a" if start == b"POST /pre" else b"0")


def test_clients_that_hang_up_at_any_time(
    service: RunningService, ordinary_clients: Traffic
) -> None:
    whole = HEAD + BODY
    for end in (1, 20, len(HEAD) - 1, len(HEAD), len(whole) - 1, len(whole)):
        for linger in (True, False):
            with opened(service, 10) as clients:
                for client in clients:
                    client.sendall(whole[:end])
                    if not linger:  # it is reset, so that what is written to it fails
                        gone = struct.pack("ii", 1, 0)
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, gone)
    ordinary_clients.wait_for_answers()
    # Those of the ordinary clients are counted still.
    wait_until(lambda: images_waiting(service) <= 2, "no other images are counted")


def images_waiting(service: RunningService) -> int:
    response = httpx.get(service.url + "/status", trust_env=False, timeout=PATIENCE_SECONDS)
    return int(response.json()["images_waiting"])


def test_many_requests_at_once_on_one_connection(service: RunningService) -> None:
    with connect(service) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
        answers = b""
        while answers.count(b"HTTP/1.1 200") < 500:
            piece = client.recv(65536)
            assert piece
            answers += piece
