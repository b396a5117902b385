"""What a request can ask for, and what becomes of it when there is too much to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from serving.engine.batcher import Batcher
from serving.residency.state import ServiceState
from serving.routes.app import create_app
from serving.settings import Settings
from serving.telemetry import Telemetry
from tests.serving.engine.test_batcher import Gate
from tests.serving.samples import (
    CLASS_NAMES,
    MODULES,
    make_engine,
    make_served,
    npy_bytes,
    random_images,
)

SETTINGS = Settings(queue_images=6, queue_bytes=4000, deadline_seconds=20, max_images=50)


class Service:
    """The application in this process, its networks behind a gate."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.gate = Gate()
        self.gate.is_open.set()
        self.telemetry = Telemetry()
        self.state = ServiceState(settings)
        self.state.open(Batcher(report=self.telemetry.count_batch))
        self.state.residents.activate(make_served(executor=self.gate))
        self.app = create_app(self.state, self.telemetry)

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://test")

    def predict(self, content: bytes, query: str = "") -> httpx.Response:
        async def ask() -> httpx.Response:
            async with self.client() as client:
                return await client.post(f"/predict{query}", content=content)

        return asyncio.run(ask())


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.gate.is_open.set()
    made.state.close()


IMAGES = random_images(40, 8, 8, 1)


def error_of(response: httpx.Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    return response.status_code, error["code"], error["message"]


@pytest.mark.parametrize(
    ("query", "patches"),
    [
        ("", ["TC", "7"]),
        ("?patches=all", ["TC", "7"]),
        ("?patches=7,TC", ["TC", "7"]),
        ("?patches=7", ["7"]),
        ("?patches=none", []),
    ],
)
def test_a_request_chooses_its_patches(service: Service, query: str, patches: list[str]) -> None:
    answer = service.predict(npy_bytes(IMAGES), query).json()
    engine = make_engine()
    expected = engine.answer(list(IMAGES), engine.ask(patches))
    assert answer["patches"] == patches
    scores = [list(p["scores"].values()) for p in answer["predictions"]]
    np.testing.assert_allclose(scores, expected.scores, atol=1e-5)
    assert {name for p in answer["predictions"] for name in p["changed_by"]} <= set(patches)
    assert "explanations" not in answer["predictions"][0]


def test_an_unknown_patch_is_refused_before_the_body_is_read(service: Service) -> None:
    status, code, message = error_of(service.predict(b"no image", "?patches=TC,ship"))
    assert (status, code) == (422, "unknown_patch")
    assert "no patch for 'ship'; it has TC, 7" in message


def test_a_typing_error_in_the_query_is_told(service: Service) -> None:
    status, code, _ = error_of(service.predict(npy_bytes(IMAGES), "?patch=none"))
    assert (status, code) == (400, "bad_query")


def test_explained_answers_say_what_each_patch_did(service: Service) -> None:
    answer = service.predict(npy_bytes(IMAGES), "?explain=1").json()
    engine = make_engine()
    expected = engine.answer(list(IMAGES), engine.ask(explain=True))
    assert expected.without is not None
    for row, prediction in enumerate(answer["predictions"]):
        assert [e["patch"] for e in prediction["explanations"]] == ["TC", "7"]
        assert tuple(e["module"] for e in prediction["explanations"]) == MODULES
        for place, explanation in enumerate(prediction["explanations"]):
            assert explanation["score"] == prediction["scores"][explanation["patch"]]
            assert explanation["weak_score"] == prediction["weak_scores"][explanation["patch"]]
            assert explanation["module_score"] == pytest.approx(expected.raw[row, place], abs=1e-5)
            assert explanation["without"] == CLASS_NAMES[expected.without[row, place]]
    weak = service.predict(npy_bytes(IMAGES[:1]), "?explain=1&patches=none").json()
    assert weak["predictions"][0]["explanations"] == []


def test_an_answer_that_takes_too_long_is_not_waited_for(service: Service) -> None:
    service.gate.is_open.clear()
    status, code, message = error_of(service.predict(npy_bytes(IMAGES[:1]), "?timeout_ms=50"))
    assert (status, code) == (504, "deadline_exceeded")
    assert "within 0.05 seconds" in message
    service.gate.is_open.set()
    assert service.predict(npy_bytes(IMAGES[:2])).status_code == 200


def test_a_slow_body_counts_towards_the_deadline() -> None:
    service = Service(Settings(deadline_seconds=0.1))

    async def slow() -> AsyncIterator[bytes]:
        yield b"\x93"
        await asyncio.sleep(5)

    async def ask() -> httpx.Response:
        async with service.client() as client:
            return await client.post("/predict", content=slow())

    assert error_of(asyncio.run(ask()))[:2] == (504, "deadline_exceeded")
    service.state.close()


def gather(service: Service, *bodies: bytes) -> list[httpx.Response]:
    """Send all of these while the networks are shut, and open them when all have been heard."""

    async def ask() -> list[httpx.Response]:
        service.gate.is_open.clear()
        async with service.client() as client:
            tasks = []
            for body in bodies:
                tasks.append(asyncio.ensure_future(client.post("/predict", content=body)))
                await asyncio.sleep(0.05)
            service.gate.is_open.set()
            return await asyncio.gather(*tasks)

    return asyncio.run(ask())


def statuses(responses: list[httpx.Response]) -> list[int]:
    return [response.status_code for response in responses]


def test_past_the_queue_requests_are_refused_at_once_and_soon_welcome_again(
    service: Service,
) -> None:
    one = npy_bytes(IMAGES[:1])
    responses = gather(service, npy_bytes(IMAGES[:4]), one, one, one, b"not even read")
    assert statuses(responses) == [200, 200, 200, 503, 503]
    assert error_of(responses[3])[1:] == ("busy", "6 images are waiting already; ask again soon")
    assert responses[3].headers["retry-after"] == "1"
    assert service.predict(one).status_code == 200
    counted = service.telemetry.registry.get_sample_value(
        "patchbay_requests_total", {"outcome": "busy"}
    )
    assert counted == 2


def test_a_request_for_more_than_there_is_room_for_is_refused_unless_alone(
    service: Service,
) -> None:
    many = npy_bytes(IMAGES[:10])
    assert statuses(gather(service, npy_bytes(IMAGES[:1]), many)) == [200, 503]
    assert service.predict(many).status_code == 200


def test_the_bytes_of_all_bodies_are_limited(service: Service) -> None:
    large: Any = npy_bytes(random_images(50, 60, 1))  # 3,128 bytes
    assert statuses(gather(service, large, large, npy_bytes(IMAGES[:1]))) == [200, 503, 200]
