"""The real service under traffic while its alias moves and models come and go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any

import httpx
import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
from tritonclient.http import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from registry.registry import Registry
from serving.launch import RunningService, running_service
from serving.settings import Settings
from tests.serving.devices import DEVICES
from tests.serving.samples import register_patched
from tests.serving.traffic import (
    IMAGES,
    Offline,
    Traffic,
    answers_offline,
    reloads,
    serving,
    wait_for,
)
from tests.waiting import PATIENCE_SECONDS, wait_until

POLL_SECONDS = 0.2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions that answer differently, the alias on the second."""
    home = tmp_path_factory.mktemp("reloading")
    register_patched(home)
    register_patched(home, seed=2)
    return home


@pytest.fixture(scope="module", params=DEVICES)
def service(home: Path, request: pytest.FixtureRequest) -> Iterator[RunningService]:
    settings = Settings(
        model_uri="models:/served@champion",
        home=home,
        device=request.param,
        poll_seconds=POLL_SECONDS,
    )
    with running_service(settings) as running:
        yield running


@pytest.fixture(scope="module")
def offline(home: Path) -> Offline:
    found = answers_offline(home)
    first, second = found.values()
    assert not np.allclose(first, second, atol=1e-3)
    return found


def test_while_the_alias_moves_no_request_fails_and_no_answer_is_another_version_s(
    service: RunningService, home: Path, offline: Offline
) -> None:
    registry = Registry.open(home)
    with Traffic(service, offline) as traffic:
        for version in (1, 2, 1, 2, 1):
            registry.aliases.promote(f"models:/served/{version}", "champion")
            wait_for(service, f"models:/served/{version}")
            traffic.wait_for_answers(20)
    traffic.require_faultless()
    assert set(traffic.answers) == {"models:/served/1", "models:/served/2"}


def test_the_registry_may_go_and_come_back(
    service: RunningService, home: Path, offline: Offline
) -> None:
    registry = Registry.open(home)
    before = serving(service)
    other = f"models:/served/{3 - int(before[-1])}"
    registry.aliases.promote(other, "champion")
    wait_for(service, other)
    database = home / "mlflow.db"
    good = database.read_bytes()
    with Traffic(service, offline, clients=1) as traffic:
        before_it_went = reloads(service, "unreachable")
        database.write_bytes(b"no database" * 1000)
        wait_until(lambda: reloads(service, "unreachable") > before_it_went)
        assert serving(service) == other
        database.write_bytes(good)
        registry.aliases.promote(before, "champion")
        wait_for(service, before)
    traffic.require_faultless()
    assert "the registry can't be reached" in service.log_tail(2000)


def test_the_stock_client_asks_two_versions_side_by_side(
    service: RunningService, home: Path, offline: Offline
) -> None:
    Registry.open(home).aliases.promote("models:/served/2", "champion")
    wait_for(service, "models:/served/2")
    client = InferenceServerClient(service.url.removeprefix("http://"))
    try:
        client.load_model("served", config='{"version": 1}')
        metadata: Any = client.get_model_metadata("served")
        assert metadata["versions"] == ["1", "2"]
        given = InferInput("images", list(IMAGES.shape), "UINT8")
        given.set_data_from_numpy(IMAGES)
        for version, answers in (("1", "1"), ("2", "2"), ("", "2")):
            assert client.is_model_ready("served", version)
            result = client.infer("served", [given], model_version=version)
            expected = offline[f"models:/served/{answers}"]
            np.testing.assert_allclose(result.as_numpy("scores"), expected, atol=1e-5)
            assert result.get_response()["model_version"] == answers
        client.unload_model("served")
        assert not client.is_model_ready("served", "1")
        with pytest.raises(InferenceServerException, match="served/1 is not in memory"):
            client.infer("served", [given], model_version="1")
        states = {
            (one["name"], one["version"]): one["state"]
            for one in client.get_model_repository_index()
        }
        assert (states["served", "1"], states["served", "2"]) == ("UNAVAILABLE", "READY")
    finally:
        client.close()


@pytest.mark.slow
def test_traffic_and_change_leave_memory_where_it_was(
    service: RunningService, home: Path, offline: Offline
) -> None:
    registry = Registry.open(home)
    process = psutil.Process(service.process.pid)
    workers = [process, *process.children(recursive=True)]

    def change(version: int) -> None:
        registry.aliases.promote(f"models:/served/{version}", "champion")
        wait_for(service, f"models:/served/{version}")
        for action in ("load", "unload", "load", "unload"):
            for name, body in (("served", {"version": 3 - version}), ("weak", {"version": 1})):
                response = httpx.post(
                    f"{service.url}/v2/repository/models/{name}/{action}",
                    json={"parameters": body},
                    trust_env=False,
                    timeout=PATIENCE_SECONDS,
                )
                assert response.status_code in (200, 409), response.text
        response = httpx.post(
            f"{service.url}/v2/repository/models/nothing/load",
            trust_env=False,
            timeout=PATIENCE_SECONDS,
        )
        assert response.status_code == 404

    def size_bytes() -> int:
        return sum(one.memory_info().rss for one in workers)

    with Traffic(service, offline, clients=3) as traffic:
        for version in (1, 2, 1, 2):
            change(version)
        sleep(10)
        before = size_bytes()
        for number in range(14):
            change(1 + number % 2)
            sleep(3)
        after = size_bytes()
    traffic.require_faultless()
    assert after < 1.05 * before
