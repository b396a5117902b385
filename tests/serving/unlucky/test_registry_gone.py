"""A registry that is deleted under the service, or is not there when it starts."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest

from registry.registry import Registry
from serving.errors import LaunchError
from serving.launch import running_service
from serving.settings import Settings
from tests.serving.traffic import Traffic, answers_offline, reloads, serving, wait_for
from tests.serving.unlucky.conftest import ready
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.slow


def test_a_deleted_registry_is_not_missed_while_the_service_runs(settings: Settings) -> None:
    home = settings.home
    assert home is not None
    offline = answers_offline(home)
    with running_service(settings) as service, Traffic(service, offline) as traffic:
        traffic.wait_for_answers()
        shutil.rmtree(home)
        wait_until(lambda: reloads(service, "unreachable") > 2)
        for path in ("load", "unload"):
            response = httpx.post(
                f"{service.url}/v2/repository/models/served/{path}",
                json={"parameters": {"version": 1}},
                trust_env=False,
                timeout=PATIENCE_SECONDS,
            )
            assert 400 <= response.status_code < 600
            assert response.json()["error"]
        answer = ready(service)
        assert answer is not None
        assert answer.json()["model"]["uri"] == "models:/served/2"
        traffic.wait_for_answers(50)
        assert "the registry can't be reached" in service.log_tail(200)
    traffic.require_faultless()
    assert set(traffic.answers) == {"models:/served/2"}
    assert not (home / "mlflow.db").exists()  # nobody made an empty one


def test_a_registry_that_is_put_back_is_followed_again(settings: Settings, tmp_path: Path) -> None:
    """From a backup, as another file than the one that the service has open."""
    home = settings.home
    assert home is not None
    backup = tmp_path / "backup"
    shutil.copytree(home, backup)
    with running_service(settings) as service:
        assert serving(service) == "models:/served/2"
        shutil.rmtree(home)
        wait_until(lambda: reloads(service, "unreachable") > 2)
        shutil.copytree(backup, home)
        Registry.open(home).aliases.promote("models:/served/1", "champion")
        wait_for(service, "models:/served/1")
        (home / "mlflow.db").unlink()
        shutil.copy(backup / "mlflow.db", home)
        wait_for(service, "models:/served/2")


@pytest.mark.parametrize("what", ["the database", "all of it"])
def test_without_the_registry_it_starts_from_the_cache(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setenv("PATCHBAY_CACHE", str(tmp_path / "cache"))
    home = settings.home
    assert home is not None
    offline = answers_offline(home)
    with running_service(settings) as service:
        answer = ready(service)
        assert answer is not None
        assert answer.json()["from_cache"] is False
    (home / "mlflow.db").unlink()
    if what == "all of it":
        shutil.rmtree(home)
    with running_service(settings) as service, Traffic(service, offline) as traffic:
        traffic.wait_for_answers(20)
        answer = ready(service)
        assert answer is not None
        assert answer.json()["from_cache"] is True
        assert "the registry can't be reached" in service.log_tail(200)
    traffic.require_faultless()
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(LaunchError, match="no model to serve"), running_service(settings):
        pass
