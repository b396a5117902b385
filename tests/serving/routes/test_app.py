from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from serving.engine.batcher import Batcher
from serving.residency.state import ServiceState
from serving.routes.app import create_app
from serving.routes.intake import Intake
from serving.routes.readiness import Readiness
from serving.settings import Settings
from serving.telemetry import Telemetry
from tests.serving.samples import (
    CLASS_NAMES,
    encode,
    make_engine,
    make_served,
    npy_bytes,
    random_images,
)

SETTINGS = Settings(
    max_body_bytes=20_000,
    max_images=8,
    max_pixels=5000,
    max_request_pixels=9000,
    body_seconds=0.3,
)


class Service:
    """The application in this process, one request at a time."""

    def __init__(self) -> None:
        self.state = ServiceState(SETTINGS)
        self.telemetry = Telemetry()
        self.batcher = Batcher(max_images=4, report=self.telemetry.count_batch)
        self.app = Readiness(create_app(Intake(self.state, self.telemetry)), self.state)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def predict(self, content: Any = None, **options: Any) -> httpx.Response:
        return self.ask("POST", "/predict", content=content, **options)

    def outcomes(self, outcome: str) -> float:
        labels = {"outcome": outcome, "route": "predict"}
        return self.telemetry.registry.get_sample_value("patchbay_requests_total", labels) or 0


@pytest.fixture
def starting() -> Iterator[Service]:
    service = Service()
    yield service
    service.batcher.close()


@pytest.fixture
def service(starting: Service) -> Iterator[Service]:
    starting.state.open(starting.batcher)
    starting.state.residents.activate(make_served())
    yield starting
    starting.state.close()


def assert_error(response: httpx.Response, status: int, code: str, message: str = "") -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    assert set(response.json()["error"]) == {"code", "message"}
    assert response.json()["error"]["code"] == code
    assert message in response.json()["error"]["message"]
    assert "Traceback" not in response.text


def test_a_png_body_is_answered(service: Service) -> None:
    pixels = random_images(8, 8)
    response = service.predict(encode(Image.fromarray(pixels)))
    assert response.status_code == 200
    expected = make_engine().answer([pixels[:, :, None]])
    assert response.json() == {
        "model": {"uri": "models:/digits/3", "name": "digits", "version": 3},
        "patches": ["TC", "7"],
        "predictions": [
            {
                "label": CLASS_NAMES[expected.labels[0]],
                "scores": dict(zip(CLASS_NAMES, expected.scores[0].tolist(), strict=True)),
                "weak_label": CLASS_NAMES[expected.weak_labels[0]],
                "weak_scores": dict(
                    zip(CLASS_NAMES, expected.weak_scores[0].tolist(), strict=True)
                ),
                "changed_by": list(expected.changed_by(0)),
            }
        ],
    }
    assert service.outcomes("ok") == 1


def test_a_jpeg_body_is_answered(service: Service) -> None:
    body = encode(Image.fromarray(random_images(30, 20, 3)), "JPEG")
    assert len(service.predict(body).json()["predictions"]) == 1


def test_the_content_type_of_a_raw_body_does_not_matter(service: Service) -> None:
    body = npy_bytes(random_images(2, 8, 8, 1))
    for media_type in ("application/x-www-form-urlencoded", "image/png", "text/plain", "", "??"):
        response = service.predict(body, headers={"content-type": media_type})
        assert len(response.json()["predictions"]) == 2


def test_multipart_files_are_answered_in_their_order(service: Service) -> None:
    images = random_images(3, 8, 8)
    files = [
        ("image", ("a.png", encode(Image.fromarray(images[0])), "text/plain")),
        ("anything", ("../../b.npy", npy_bytes(images[1:]), "image/png")),
    ]
    response = service.ask("POST", "/predict", files=files, data={"note": "ignored"})
    expected = make_engine().answer([image[:, :, None] for image in images])
    found = response.json()["predictions"]
    assert [p["label"] for p in found] == [CLASS_NAMES[label] for label in expected.labels]
    scores = [list(p["scores"].values()) for p in found]
    np.testing.assert_allclose(scores, expected.scores, atol=1e-6)


PART = b"""--x\r
Content-Disposition: form-data; name="a"; filename="b"\r
\r
%s\r
--x--""" % encode(Image.fromarray(random_images(8, 8)))


@pytest.mark.parametrize("charset", ["", "; charset=utf-8", '; charset="ISO-8859-1"'])
def test_the_usual_charsets_of_multipart_are_taken(service: Service, charset: str) -> None:
    headers = {"content-type": f"multipart/form-data; boundary=x{charset}"}
    assert service.predict(PART, headers=headers).status_code == 200


@pytest.mark.parametrize("kind", ["raw", "form"])
def test_an_empty_body_is_an_error(service: Service, kind: str) -> None:
    if kind == "raw":
        assert_error(service.predict(), 400, "empty_body")
    else:
        files = [("image", ("a.png", b"", "image/png"))]
        assert_error(service.ask("POST", "/predict", files=files), 400, "empty_body")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x\r\n\r\n"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"nonsense"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na"),
        ("multipart/form-data; boundary=x", b"--x\r\nno colon\r\n\r\nabc\r\n--x--"),
        ("multipart/form-data; boundary=" + "x" * 500, b"--x\r\n"),
        ("multipart/form-data; boundary=x; charset=idna", PART),
        (
            "multipart/form-data; boundary=x; charset=\u00e9",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n',
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\ntext\r\n--x--\r\n',
        ),
    ],
)
def test_broken_multipart_is_an_error(service: Service, content_type: str, body: bytes) -> None:
    headers = {"content-type": content_type.encode("latin-1")}
    assert_error(service.predict(body, headers=headers), 400, "bad_multipart")


def test_too_many_files_are_an_error(service: Service) -> None:
    body = encode(Image.fromarray(random_images(2, 2)))
    files = [("image", (f"{n}.png", body, "image/png")) for n in range(9)]
    assert_error(service.ask("POST", "/predict", files=files), 400, "bad_multipart", "Too many")


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        (b"GIF89a", 415, "unsupported_format", "a GIF"),
        (b"\x89PNG\r\n\x1a\n", 422, "invalid_image", "PNG is broken"),
        (b"\xff\xd8\xff\xe0", 422, "invalid_image", "JPEG is broken"),
        (npy_bytes(np.full((4, 4), np.nan)), 422, "invalid_array", "16 NaN"),
        (npy_bytes(np.zeros((4, 4, 5, 6), np.uint8)), 422, "invalid_array", "shape"),
        (npy_bytes(np.zeros((9, 4, 4), np.uint8)), 422, "too_many_images", "at most 8"),
        (npy_bytes(np.zeros((71, 71), np.uint8)), 422, "too_many_pixels", "at most 5000"),
    ],
)
def test_bytes_that_are_no_image_are_an_error(
    service: Service, body: bytes, status: int, code: str, message: str
) -> None:
    assert_error(service.predict(body), status, code, message)
    assert service.outcomes(code) == 1


def test_a_body_declared_too_large_is_refused_unread(service: Service) -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    headers = {"content-length": "100000000"}
    response = service.predict(unread(), headers=headers)
    assert_error(response, 413, "body_too_large", "100000000")


def test_a_length_may_begin_with_any_number_of_zeros(service: Service) -> None:
    body = encode(Image.fromarray(random_images(8, 8)))
    zeros = "0" * 5000  # Python refuses to read numbers of more than 4300 digits
    response = service.predict(body, headers={"content-length": f"{zeros}{len(body)}"})
    assert response.status_code == 200
    response = service.predict(body, headers={"content-length": f"{zeros}100000000"})
    assert_error(response, 413, "body_too_large", "declares 100000000")


def test_a_body_of_unknown_length_is_refused_when_it_is_too_large(service: Service) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1000
            yield bytes(1000)

    response = service.predict(endless())
    assert_error(response, 413, "body_too_large")
    assert response.headers["connection"] == "close"
    assert sent < 30_000


def test_a_body_of_exactly_the_limit_is_taken(service: Service) -> None:
    body = b"\x93NUMPY" + bytes(20_000 - 6)
    assert_error(service.predict(body), 422, "invalid_array")


def test_a_slow_body_is_an_error(service: Service) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"\x89"
        await asyncio.sleep(5)
        yield b"P"

    assert_error(service.predict(slow()), 408, "slow_body", "within 0.3 seconds")


def test_a_compressed_body_is_an_error(service: Service) -> None:
    response = service.predict(b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert_error(response, 400, "bad_body", "uncompressed")


def test_scores_that_are_not_finite_fail_their_request_alone(service: Service) -> None:
    engine = service.state.require_active().engine
    good = npy_bytes(random_images(8, 8))
    bias = engine.model.weak.network.classifier[-1].bias  # type: ignore[union-attr,index]
    saved = bias.clone()
    bias.fill_(float("nan"))
    assert_error(service.predict(good), 500, "non_finite_scores")
    bias.copy_(saved)
    assert service.predict(good).status_code == 200


def test_an_error_of_our_own_shows_nothing_of_itself(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(service.state.require_active().engine, "run", fail)
    response = service.predict(npy_bytes(random_images(8, 8)))
    assert_error(response, 500, "internal")
    assert "secret" not in response.text
    assert service.outcomes("internal") == 1


def test_other_methods_and_routes_are_errors_in_json(service: Service) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        response = service.ask(method, "/predict")
        assert_error(response, 405, "method_not_allowed", "POST")
        assert response.headers["allow"] == "POST"
    for path in ("/nothing", "/predict/", "/../etc/passwd", "/%2e%2e"):
        assert service.ask("POST", path, content=b"x").status_code in (404, 405)


def test_the_index_lists_the_routes(service: Service) -> None:
    index = service.ask("GET", "/", headers={"accept": "application/json"})
    assert "POST /predict" in index.json()["routes"]


def test_readyz_names_the_model(service: Service) -> None:
    response = service.ask("GET", "/readyz")
    assert response.status_code == 200
    assert response.json()["model"]["uri"] == "models:/digits/3"


def test_readyz_takes_no_other_method(service: Service) -> None:
    for method in ("POST", "TRACE", "DELETE"):
        assert_error(service.ask(method, "/readyz"), 405, "method_not_allowed", "GET only")
    assert service.ask("HEAD", "/readyz").status_code == 200


def test_without_a_model_requests_are_told_why_and_when_to_ask_again(starting: Service) -> None:
    for method, path in (("GET", "/readyz"), ("POST", "/predict")):
        response = starting.ask(method, path)
        assert_error(response, 503, "loading", "being loaded")
        assert response.headers["retry-after"] == "2"
    starting.state.fail("no_model", "PATCHBAY_MODEL_URI is not set")
    for method, path in (("GET", "/readyz"), ("POST", "/predict")):
        response = starting.ask(method, path)
        assert_error(response, 503, "no_model", "PATCHBAY_MODEL_URI")
        assert response.headers["retry-after"] == "30"
    assert starting.outcomes("no_model") == 1


def test_every_stage_is_timed(service: Service) -> None:
    service.predict(npy_bytes(random_images(8, 8)))
    for stage in ("read", "decode", "answer"):
        name, labels = "patchbay_stage_seconds_count", {"stage": stage}
        assert service.telemetry.registry.get_sample_value(name, labels) == 1
