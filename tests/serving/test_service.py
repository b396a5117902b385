"""The real service, over HTTP."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest

from modularizer.classifier import predict
from registry.registry import Registry
from serving.client import PredictClient, npy_bytes, png_bytes
from serving.errors import ClientError
from serving.launch import RunningService, running_service
from serving.settings import Settings
from tests.serving.samples import random_images
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture
def client(service: RunningService) -> Iterator[PredictClient]:
    with PredictClient(service.url) as client:
        yield client


def get(service: RunningService, path: str) -> httpx.Response:
    return httpx.get(service.url + path, trust_env=False, timeout=PATIENCE_SECONDS)


def metric(service: RunningService, line: str) -> float:
    """The value of the line of /metrics that begins like this; 0 if there is none."""
    for found in get(service, "/metrics").text.splitlines():
        if found.startswith(line + " "):
            return float(found.rsplit(" ", 1)[1])
    return 0.0


def test_without_a_model_it_lives_and_says_what_is_missing(
    service_without_model: RunningService,
) -> None:
    assert get(service_without_model, "/livez").status_code == 200
    ready = get(service_without_model, "/readyz")
    assert ready.status_code == 503
    assert ready.json()["error"]["code"] == "no_model"
    assert "PATCHBAY_MODEL_URI is not set" in ready.json()["error"]["message"]
    counted = 'patchbay_requests_total{outcome="no_model",route="predict"}'
    before = metric(service_without_model, counted)
    with (
        PredictClient(service_without_model.url) as client,
        pytest.raises(ClientError, match="503 no_model: PATCHBAY_MODEL_URI"),
    ):
        client.predict(png_bytes(random_images(8, 8, 1)))
    assert metric(service_without_model, counted) == before + 1


def test_nothing_of_bentoml_s_own_pages_is_served(service_without_model: RunningService) -> None:
    assert "<title>patchbay</title>" in get(service_without_model, "/").text
    for path in ("/docs.json", "/static_content/index.css", "/assets/index.js", "/nothing"):
        response = get(service_without_model, path)
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "not_found"


def test_answers_over_http_equal_those_offline(
    service: RunningService, client: PredictClient, home: Path
) -> None:
    registry = Registry.open(home)
    offline = registry.load_patched("models:/served/1")
    assert offline.fusion.kind == "stack"
    images = random_images(40, 8, 8, 1)
    expected = predict(offline, images)
    names = offline.class_names
    assert 0 < sum(expected.argmax(axis=1) == names.index("cone")) < 40
    for image, scores in zip(images, expected, strict=True):
        answer = client.predict(png_bytes(image))
        assert answer.response.model.uri == "models:/served/1"
        [prediction] = answer.predictions
        assert np.allclose([prediction.scores[name] for name in names], scores, atol=1e-5)
        assert prediction.label == names[int(scores.argmax())]
    together = client.predict(npy_bytes(images)).predictions
    assert [p.label for p in together] == [names[i] for i in expected.argmax(axis=1)]


def test_readyz_names_the_version_behind_the_alias(service: RunningService) -> None:
    response = get(service, "/readyz")
    assert response.status_code == 200
    assert response.json()["model"] == {"uri": "models:/served/1", "name": "served", "version": 1}


def test_metrics_count_what_was_asked(service: RunningService, client: PredictClient) -> None:
    lines = (
        'patchbay_requests_total{outcome="ok",route="predict"}',
        "patchbay_images_total",
        'patchbay_changed_answers_total{patch="cone"}',
        'patchbay_stage_seconds_count{stage="patches"}',
    )
    before = [metric(service, line) for line in lines]
    predictions = client.predict(npy_bytes(random_images(50, 8, 8, 1))).predictions
    changed = sum("cone" in p.changed_by for p in predictions)
    assert changed
    after = [metric(service, line) for line in lines]
    assert np.subtract(after, before).tolist() == [1, 50, changed, 1]
    response = get(service, "/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert metric(service, "process_resident_memory_bytes") > 10**8


def test_numbers_are_kept_in_memory_not_in_files_for_several_workers(
    service: RunningService, client: PredictClient
) -> None:
    client.predict(png_bytes(random_images(8, 8, 1)))
    process = psutil.Process(service.process.pid)
    files = [
        file.path
        for one in (process, *process.children(recursive=True))
        for file in one.open_files()
    ]
    assert files  # they can be seen
    assert not [path for path in files if "prometheus" in path]


def test_hostile_bodies_leave_the_connection_and_the_service_as_they_were(
    service: RunningService, client: PredictClient
) -> None:
    good = png_bytes(random_images(8, 8, 1))
    expected = client.predict(good).predictions
    hostile = [b"", b"x", good[:50], npy_bytes(random_images(2, 8, 8, 1))[:-1], bytes(10**8)]
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as connection:
        for body in hostile:
            response = connection.post("/predict", content=body)
            assert 400 <= response.status_code < 500
            assert response.json()["error"]["code"]
            again = connection.post("/predict", content=good)
            assert again.json()["predictions"] == [
                p.model_dump(mode="json", exclude_none=True) for p in expected
            ]


def test_a_large_body_without_a_length_is_refused_as_it_comes(service: RunningService) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(10**6)

    response = httpx.post(
        service.url + "/predict", content=chunks(), trust_env=False, timeout=PATIENCE_SECONDS
    )
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"


def test_a_client_that_hangs_up_is_not_waited_for(
    service: RunningService, client: PredictClient
) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    for sent in (
        b"",
        b"POST /predict HT",
        b"POST /predict HTTP/1.1\r\nContent-Length: 99\r\n\r\nab",
    ):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(sent)
    assert client.predict(png_bytes(random_images(8, 8, 1))).predictions


@pytest.mark.parametrize("piece", [b"a:b\r\n" * 13_000, b"a" * 65_000], ids=["many", "one"])
def test_headers_without_an_end_are_cut_off(service: RunningService, piece: bytes) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nX:")
        with contextlib.suppress(ConnectionError):  # it is closed while we send
            for _ in range(200):
                connection.sendall(piece)
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(4096):  # or waits, and times out
                pass


def test_headers_of_an_ordinary_size_and_trailers_are_taken(service: RunningService) -> None:
    headers = {f"x-{number}": "a" * 400 for number in range(100)}
    with httpx.Client(
        base_url=service.url, trust_env=False, timeout=PATIENCE_SECONDS
    ) as connection:
        for _ in range(3):
            assert connection.get("/livez", headers=headers).status_code == 200
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(b"1\r\nx\r\n0\r\nA: b\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 415")


def test_answers_to_many_at_once_are_each_one_s_own(service: RunningService) -> None:
    images = random_images(40, 8, 8, 1)
    with PredictClient(service.url) as client:
        expected = client.predict(npy_bytes(images)).predictions
    wrong: list[int] = []

    def ask(start: int) -> None:
        with PredictClient(service.url) as client:
            for index in range(start, 40, 8):
                if index % 5 == 4:
                    with pytest.raises(ClientError, match="422 invalid_image"):
                        client.predict(png_bytes(images[index])[:-30])
                else:
                    [found] = client.predict(png_bytes(images[index])).predictions
                    same = found.label == expected[index].label
                    wrong.extend([] if same else [index])

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_where_bentoml_is_told_of_other_sites_their_pages_hear_answers(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "bentoml.yaml"
    config.write_text(
        "services:\n  patchbay:\n    http:\n      cors:\n        enabled: true\n"
        "        access_control_allow_origins: ['https://example.org']\n"
    )
    monkeypatch.setenv("BENTOML_CONFIG", str(config))
    settings = Settings(model_uri="models:/served@champion", home=home, device="cpu")
    with running_service(settings) as service:
        response = httpx.post(
            f"{service.url}/predict",
            content=npy_bytes(random_images(8, 8, 1)),
            headers={"Origin": "https://example.org"},
            trust_env=False,
            timeout=PATIENCE_SECONDS,
        )
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "https://example.org"
