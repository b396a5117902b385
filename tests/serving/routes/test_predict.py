"""What a request can ask for, and what becomes of it when there is too much to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest

from serving.settings import Settings
from tests.serving.routes.conftest import Service
from tests.serving.samples import (
    CLASS_NAMES,
    MODULES,
    make_engine,
    npy_bytes,
    random_images,
)

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
def test_a_request_chooses_its_patches(gated: Service, query: str, patches: list[str]) -> None:
    answer = gated.predict(npy_bytes(IMAGES), query).json()
    engine = make_engine()
    expected = engine.answer(list(IMAGES), engine.ask(patches))
    assert answer["patches"] == patches
    scores = [list(p["scores"].values()) for p in answer["predictions"]]
    np.testing.assert_allclose(scores, expected.scores, atol=1e-5)
    assert {name for p in answer["predictions"] for name in p["changed_by"]} <= set(patches)
    assert "explanations" not in answer["predictions"][0]


def test_an_unknown_patch_is_refused_before_the_body_is_read(gated: Service) -> None:
    status, code, message = error_of(gated.predict(b"no image", "?patches=TC,ship"))
    assert (status, code) == (422, "unknown_patch")
    assert "no patch for 'ship'; it has TC, 7" in message


def test_a_typing_error_in_the_query_is_told(gated: Service) -> None:
    status, code, _ = error_of(gated.predict(npy_bytes(IMAGES), "?patch=none"))
    assert (status, code) == (400, "bad_query")


def test_explained_answers_say_what_each_patch_did(gated: Service) -> None:
    answer = gated.predict(npy_bytes(IMAGES), "?explain=1").json()
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
    weak = gated.predict(npy_bytes(IMAGES[:1]), "?explain=1&patches=none").json()
    assert weak["predictions"][0]["explanations"] == []


def test_an_answer_that_takes_too_long_is_not_waited_for(gated: Service) -> None:
    gated.gate.is_open.clear()
    status, code, message = error_of(gated.predict(npy_bytes(IMAGES[:1]), "?timeout_ms=50"))
    assert (status, code) == (504, "deadline_exceeded")
    assert "within 0.05 seconds" in message
    gated.gate.is_open.set()
    assert gated.predict(npy_bytes(IMAGES[:2])).status_code == 200


def test_a_slow_body_counts_towards_the_deadline() -> None:
    gated = Service(Settings(deadline_seconds=0.1))

    async def slow() -> AsyncIterator[bytes]:
        yield b"\x93"
        await asyncio.sleep(5)

    async def ask() -> httpx.Response:
        async with gated.client() as client:
            return await client.post("/predict", content=slow())

    assert error_of(asyncio.run(ask()))[:2] == (504, "deadline_exceeded")
    gated.close()


def gather(gated: Service, *bodies: bytes) -> list[httpx.Response]:
    """Send all of these while the networks are shut, and open them when all have been heard."""

    async def ask() -> list[httpx.Response]:
        gated.gate.is_open.clear()
        async with gated.client() as client:
            tasks = []
            for body in bodies:
                tasks.append(asyncio.ensure_future(client.post("/predict", content=body)))
                await asyncio.sleep(0.05)
            gated.gate.is_open.set()
            return await asyncio.gather(*tasks)

    return asyncio.run(ask())


def statuses(responses: list[httpx.Response]) -> list[int]:
    return [response.status_code for response in responses]


def test_past_the_queue_requests_are_refused_at_once_and_soon_welcome_again(
    gated: Service,
) -> None:
    one = npy_bytes(IMAGES[:1])
    responses = gather(gated, npy_bytes(IMAGES[:4]), one, one, one, b"not even read")
    assert statuses(responses) == [200, 200, 200, 503, 503]
    assert error_of(responses[3])[1:] == ("busy", "6 images are waiting already; ask again soon")
    assert responses[3].headers["retry-after"] == "1"
    assert gated.predict(one).status_code == 200
    assert gated.outcomes("busy") == 2


def test_a_request_for_more_than_there_is_room_for_is_refused_unless_alone(
    gated: Service,
) -> None:
    many = npy_bytes(IMAGES[:10])
    assert statuses(gather(gated, npy_bytes(IMAGES[:1]), many)) == [200, 503]
    assert gated.predict(many).status_code == 200


def test_the_bytes_of_all_bodies_are_limited(gated: Service) -> None:
    large: Any = npy_bytes(random_images(50, 60, 1))  # 3,128 bytes
    assert statuses(gather(gated, large, large, npy_bytes(IMAGES[:1]))) == [200, 503, 200]
