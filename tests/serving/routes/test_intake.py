"""What every request with images gets and leaves behind, whatever its protocol."""

from __future__ import annotations

import io

import pytest

from tests.serving.routes.conftest import Service
from tests.serving.routes.test_predict import IMAGES
from tests.serving.samples import npy_bytes
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
