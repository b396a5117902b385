from __future__ import annotations

import asyncio

import pytest
from PIL import Image

from serving.protocol import StatusResponse
from tests.serving.routes.conftest import Service
from tests.serving.samples import encode, make_engine, make_served, npy_bytes, random_images


def status(service: Service) -> StatusResponse:
    response = service.ask("GET", "/status")
    assert response.headers["cache-control"] == "no-store"
    return StatusResponse.model_validate({**NOTHING, **response.json()})


NOTHING = {"model": None, "digest": None, "from_cache": None}


def test_the_active_model_is_described(gated: Service) -> None:
    response = gated.ask("GET", "/model")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    told = response.json()
    active = gated.state.require_active()
    assert told["model"] == active.identity.model_dump()
    assert told["digest"] == active.digest
    assert told["class_names"] == list(active.engine.class_names)
    assert [one["patch"] for one in told["patches"]] == ["TC", "7"]
    assert [one["module"] for one in told["patches"]] == list(active.engine.modules)
    assert told["from_cache"] is False
    active.from_cache = True
    assert gated.ask("GET", "/model").json()["from_cache"] is True


def test_a_model_that_follows_is_described_at_once(gated: Service) -> None:
    gated.state.residents.activate(make_served(version=4))
    assert gated.ask("GET", "/model").json()["model"]["version"] == 4
    found = status(gated)
    assert found.model is not None
    assert (found.model.version, found.digest) == (4, f"{4:064d}")


def test_without_a_model_the_reason_is_told(gated: Service) -> None:
    gated.state.residents.clear()
    gated.state.fail("no_model", "PATCHBAY_MODEL_URI is not set")
    response = gated.ask("GET", "/model")
    assert response.status_code == 503
    assert response.json()["error"] == {
        "code": "no_model",
        "message": "PATCHBAY_MODEL_URI is not set",
    }
    assert response.headers["retry-after"] == "30"
    found = status(gated)
    assert (found.model, found.digest, found.from_cache) == (None, None, None)


def test_what_was_done_is_counted(gated: Service) -> None:
    before = status(gated)
    assert (before.images, before.requests, before.changed_answers) == (0, {}, {})
    images = random_images(40, 8, 8, 1)
    answers = make_engine().answer(list(images))
    changed = [name for row in range(40) for name in answers.changed_by(row)]
    assert changed
    gated.predict(npy_bytes(images))
    gated.predict(b"GIF89a")
    gated.predict(b"GIF89a")
    gated.ask("POST", "/v2/models/digits/infer", content=b"{}")
    gated.telemetry.count_reload("swapped")
    found = status(gated)
    assert found.images == 40
    assert found.requests == {
        "predict": {"ok": 1, "unsupported_format": 2},
        "infer": {"bad_infer_request": 1},
    }
    assert found.changed_answers == {name: changed.count(name) for name in set(changed)}
    assert found.reloads == {"swapped": 1}
    assert 0 <= before.seconds_since_start < found.seconds_since_start < 600


def test_images_that_wait_are_told(gated: Service) -> None:
    body = encode(Image.fromarray(random_images(8, 8)))
    gated.gate.is_open.clear()

    async def ask() -> tuple[int, int]:
        async with gated.client() as client:

            async def waiting() -> int:
                response = await client.get("/status")
                return int(response.json()["images_waiting"])

            asked = [asyncio.create_task(client.post("/predict", content=body)) for _ in range(3)]
            while await waiting() < 3:
                await asyncio.sleep(0.01)
            most = await waiting()
            gated.gate.is_open.set()
            await asyncio.gather(*asked)
            return most, await waiting()

    assert asyncio.run(asyncio.wait_for(ask(), 20)) == (3, 0)


@pytest.mark.parametrize("content", [encode(Image.fromarray(random_images(8, 8))), b"nothing"])
def test_every_answer_says_how_long_it_took(gated: Service, content: bytes) -> None:
    timing = gated.predict(content).headers["server-timing"]
    name, _, value = timing.partition(";dur=")
    assert name == "total"
    assert 0 < float(value) < 60_000
