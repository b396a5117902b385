"""A model that is loaded and followed beside a service that runs already."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.engine.batcher import Batcher
from serving.errors import ModelError, NotReadyError, SettingsError
from serving.residency.starting import open_models, start_following
from serving.residency.state import ServiceState
from serving.settings import Settings
from serving.telemetry import Telemetry
from tests.serving.residency.homes import CHAMPION, move, wait_for


def test_without_an_address_there_is_nothing_to_follow() -> None:
    with pytest.raises(ModelError, match="PATCHBAY_MODEL_URI is not set"):
        open_models(ServiceState(Settings()), Telemetry())


def test_what_can_not_begin_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: str) -> None:
        raise SettingsError("no such device")

    monkeypatch.setattr("serving.engine.executors.choosing.possible_executors", fail)
    state = ServiceState(Settings(model_uri="models:/served/1"))
    start_following(state, Telemetry()).join()
    assert state.code == "load_failed"


def test_a_registered_model_is_loaded_and_followed_beside_the_service(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBAY_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    state = ServiceState(Settings(model_uri=CHAMPION, device="cpu", poll_seconds=0.05))
    start_following(state, Telemetry()).join()
    wait_for(state, 1)
    move(home, 2)
    wait_for(state, 2)
    assert isinstance(state.batcher, Batcher)
    state.close()
    with pytest.raises(NotReadyError, match="stopping"):
        state.require_active()
