"""What every request with images gets and leaves behind, whatever its protocol."""

from __future__ import annotations

import asyncio
import io
import threading
import weakref
from collections.abc import Iterator, Sequence

import pytest

from serving.engine.answers import Answers
from serving.engine.engine import Engine
from serving.engine.prepared import Ask, Image, Prepared
from serving.protocol import PredictResponse
from serving.residency.state import ServiceState
from serving.routes import intake as intake_module
from serving.routes.intake import Intake
from serving.routes.predict import predict_response
from serving.settings import Settings
from serving.telemetry import Telemetry
from tests.serving.routes.conftest import Service
from tests.serving.routes.test_predict import IMAGES
from tests.serving.samples import npy_bytes, random_images
from tests.serving.test_logs import lines


def test_a_request_is_called_as_its_client_calls_it(
    gated: Service, log_stream: io.StringIO
) -> None:
    for given, kept in (("a-b.c:1", True), ("x" * 101, False), ("a b", False), ("", False)):
        response = gated.ask(
            "POST", "/predict", content=npy_bytes(IMAGES), headers={"X-Request-Id": given}
        )
        name = response.headers["x-request-id"]
        assert (name == given) == kept
        assert len(name) in (16, len(given))
        line = [one for one in lines(log_stream) if one["message"] == "answered"][-1]
        assert line["request_id"] == name
        assert (line["route"], line["outcome"], line["status"]) == ("predict", "ok", 200)
        assert line["milliseconds"] > 0


def test_faults_of_the_service_are_told_louder(
    gated: Service, log_stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    gated.predict(b"no image")
    monkeypatch.setattr(gated.state.require_active().engine, "run", fail)
    response = gated.predict(npy_bytes(IMAGES))
    answered = [one for one in lines(log_stream) if one["message"] == "answered"]
    assert [(one["outcome"], one["level"]) for one in answered] == [
        ("unsupported_format", "debug"),
        ("internal", "error"),
    ]
    [fault] = [one for one in lines(log_stream) if one["message"] == "an error of our own"]
    assert fault["request_id"] == response.headers["x-request-id"]


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service(Settings())
    yield made
    made.close()


@pytest.mark.parametrize(
    ("images", "side", "where"),
    [(1, 1, "batches"), (250, 1, "batches"), (300, 1, "decode"), (1, 250, "batches")],
)
def test_images_are_prepared_with_their_batch_unless_they_are_large(
    service: Service, monkeypatch: pytest.MonkeyPatch, images: int, side: int, where: str
) -> None:
    active = service.state.residents.active
    assert active is not None
    prepare, threads = active.engine.prepare, []

    def seen(given: Sequence[Image], ask: Ask) -> Prepared:
        threads.append(threading.current_thread().name)
        return prepare(given, ask)

    monkeypatch.setattr(active.engine, "prepare", seen)
    response = service.predict(npy_bytes(random_images(images, side, side, 1)))  # 16 x 16, then
    assert len(response.json()["predictions"]) == images
    assert threads
    assert all(name.startswith(f"patchbay-{where}") for name in threads)


@pytest.mark.parametrize("small", [True, False])
def test_large_answers_are_put_into_words_beside_the_event_loop(
    service: Service, monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    plain, images = service.predict(npy_bytes(IMAGES)).json(), len(IMAGES)
    classes = len(plain["predictions"][0]["scores"])
    monkeypatch.setattr(intake_module, "SMALL_SCORES", images * classes - (not small))
    threads = []

    def seen(engine: Engine, answers: Answers) -> PredictResponse:
        threads.append(threading.current_thread().name)
        return predict_response(engine, answers)

    monkeypatch.setattr("serving.routes.predict.predict_response", seen)
    assert service.predict(npy_bytes(IMAGES)).json() == plain
    [name] = threads
    assert name.startswith("patchbay-answers") is not small


class Body:
    """Bytes whose end can be seen."""

    def decode(self) -> None:
        raise AssertionError("nobody waits for it")


def test_what_nobody_waits_for_is_not_held_until_its_turn() -> None:
    intake = Intake(ServiceState(Settings(decode_threads=1)), Telemetry())
    is_over = threading.Event()

    async def ask() -> None:
        busy = asyncio.ensure_future(intake.in_a_thread(lambda: is_over.wait(30)))
        await asyncio.sleep(0.01)
        body = Body()
        held = weakref.ref(body)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await intake.in_a_thread(body.decode)
        del body
        await asyncio.sleep(0)
        assert not busy.done()
        assert held() is None
        is_over.set()
        assert await busy

    try:
        asyncio.run(ask())
    finally:
        is_over.set()
