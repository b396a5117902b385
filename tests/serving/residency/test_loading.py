from __future__ import annotations

from pathlib import Path

import pytest

from serving.errors import NotReadyError
from serving.residency.loading import load_into, start_loading
from serving.residency.state import ServiceState
from serving.settings import Settings
from serving.telemetry import Telemetry
from tests.serving.samples import random_images


def reason_for(settings: Settings) -> tuple[str, str]:
    """The code and the message of a service that has tried to load with these settings."""
    state = ServiceState(settings)
    load_into(state, Telemetry())
    with pytest.raises(NotReadyError) as caught:
        state.engine()
    return caught.value.code, str(caught.value)


def test_without_an_address_there_is_nothing_to_load() -> None:
    code, message = reason_for(Settings())
    assert code == "no_model"
    assert "PATCHBAY_MODEL_URI is not set" in message


@pytest.mark.parametrize(
    ("uri", "code", "message"),
    [
        ("models:/nothing@champion", "load_failed", "nothing"),
        ("models:/served/99", "load_failed", "99"),
        ("nonsense", "load_failed", "nonsense"),
        ("models:/weak/1", "not_a_patched_model", "found one of kind weak"),
        ("models:/strong/1", "not_a_patched_model", "found one of kind strong"),
    ],
)
def test_a_model_that_can_t_be_served_is_the_reason_given(
    uri: str, code: str, message: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBAY_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = reason_for(Settings(model_uri=uri, device="cpu"))
    assert found[0] == code
    assert message in found[1]


def test_an_error_that_nobody_expected_is_a_reason_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(uri: str) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("serving.residency.model_source.load_model", fail)
    code, message = reason_for(Settings(model_uri="models:/served/1", device="cpu"))
    assert (code, message) == (
        "load_failed",
        "models:/served/1 can't be loaded: ZeroDivisionError: by zero",
    )


def test_a_registered_model_is_loaded_beside_the_service(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBAY_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    state = ServiceState(Settings(model_uri="models:/served@champion", device="cpu"))
    start_loading(state, Telemetry()).join()
    engine = state.engine()
    assert engine.identity.uri == "models:/served/1"
    assert len(engine.answer(list(random_images(3, 8, 8, 1)))) == 3
    state.close()
    with pytest.raises(NotReadyError, match="stopping"):
        state.engine()
