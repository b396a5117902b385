"""What is taken straight to its route is answered as the application answers."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from serving.routes.app import image_routes
from serving.routes.door import Door
from tests.serving.routes.conftest import Service
from tests.serving.samples import npy_bytes, random_images

IMAGE = npy_bytes(random_images(1, 12, 9, 3))


def ask(app: Any, method: str, path: str, content: bytes = IMAGE) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, content=content)

    return asyncio.run(asked())


def door_of(gated: Service) -> Door:
    return Door(gated.intake, image_routes(gated.intake))


def beside(gated: Service) -> Any:
    """The routes alone, without the application."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await door_of(gated)(scope, nothing)(scope, receive, send)  # a response is one, too

    async def nothing(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError(f"{scope['path']} went to the application")

    return app


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/predict", IMAGE, 200),
        ("/predict?patches=none&explain=1", IMAGE, 200),
        ("/predict?nothing=1", IMAGE, 400),
        ("/predict", b"no image", 415),
        ("/v2/models/digits/infer", b"{}", 400),
        ("/v2/models/digits/versions/3/infer", b"{}", 400),
        ("/v2/models/nobody/infer", b"{}", 404),
        ("/v2/models/digits/versions/0/infer", b"{}", 404),
    ],
)
@pytest.mark.parametrize("is_full", [False, True])
def test_both_ways_the_answer_is_the_same(
    gated: Service, path: str, content: bytes, status: int, *, is_full: bool
) -> None:
    with ExitStack() as stack:
        for _ in range(6 if is_full else 0):
            stack.enter_context(gated.intake.admission.admit())
        inside = ask(gated.app, "POST", path, content)
        straight = ask(beside(gated), "POST", path, content)
    assert inside.status_code == straight.status_code == (503 if is_full else status)
    assert inside.json() == straight.json()
    own = {"server-timing", "x-request-id"}
    assert inside.headers.keys() == straight.headers.keys() >= own
    for name in inside.headers.keys() - own:
        assert inside.headers[name] == straight.headers[name]
    assert gated.intake.admission.images == 0
    outcome = "busy" if is_full else "ok" if status == 200 else None
    if outcome is not None:
        assert gated.outcomes(outcome, "predict" if path.startswith("/p") else "infer") == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/predict"),
        ("OPTIONS", "/predict"),
        ("POST", "/predict/"),
        ("POST", "/predict\n"),
        ("POST", "/"),
        ("GET", "/metrics"),
        ("POST", "/v2/models/digits"),
        ("POST", "/v2/models/a/b/infer"),
        ("POST", "/v2/repository/index"),
    ],
)
def test_all_else_goes_on_to_the_application(gated: Service, method: str, path: str) -> None:
    scope = {"type": "http", "method": method, "path": path, "root_path": ""}
    assert door_of(gated)(scope, gated.app) is gated.app
