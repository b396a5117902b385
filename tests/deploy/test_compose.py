"""The compose file, as far as that can be known without a Docker engine."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
import yaml
from bentoml._internal.container.generate import BENTO_UID_GID

from modularizer.classifier import predict
from registry.registry import Registry
from serving.client import PredictClient, npy_bytes
from serving.launch import running_service
from serving.settings import Settings
from tests.deploy.known import DEPLOY, MLFLOW_S, OURS, PAGE, PROBED, image, locked
from tests.registry.store.servers import (
    missing_for_postgres,
    postgres_server,
    run_mlflow_server,
)
from tests.serving.samples import random_images, register_patched

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PORTS = {"patchbay": 3000, "mlflow": 5000}


def substituted(text: str, **values: str) -> str:
    """What Compose makes of ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}``."""

    def value(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        if name in values:
            return values[name]
        assert operator == ":-", f"{name} has to be set: {rest}"
        return str(rest)

    return re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, text)


def probed(name: str) -> str:
    """The address that a service's health check opens; the program in it is Python's."""
    kind, program, flag, code = SERVICES[name]["healthcheck"]["test"]
    assert (kind, program, flag) == ("CMD", "python", "-c")
    ast.parse(code)
    [address] = re.findall(r'"(http://[^"]+)"', code)
    return str(address)


def test_health_checks_ask_routes_that_there_are_on_the_ports_that_are_listened_on() -> None:
    for name, port in PORTS.items():
        assert SERVICES[name]["ports"] == [f"127.0.0.1:{port}:{port}"]
        assert urlsplit(probed(name)).netloc == f"127.0.0.1:{port}"
    assert urlsplit(probed("patchbay")).path == "/readyz"
    assert "/readyz" in PROBED
    assert urlsplit(probed("mlflow")).path == "/health"


def test_no_secret_is_in_the_file_and_the_page_says_which_are_wanted() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    wanted = set(re.findall(r"\$\{(\w+):\?", text))
    assert wanted == {"POSTGRES_PASSWORD", "PATCHBAY_MODEL_URI"}
    for name in (*wanted, "PATCHBAY_ADMIN_TOKEN"):
        assert re.search(rf'echo "{name}=.*deploy/.env', PAGE), name
    secrets = [
        value
        for one in SERVICES.values()
        for name, value in one.get("environment", {}).items()
        if "PASSWORD" in name or "TOKEN" in name
    ]
    assert len(secrets) == 3
    assert all(value.startswith("${") for value in secrets)


def test_every_variable_is_one_that_is_read() -> None:
    assert SERVICES["patchbay"]["environment"].keys() <= OURS | MLFLOW_S
    assert SERVICES["mlflow"]["environment"].keys() - MLFLOW_S == {"PGPASSWORD"}
    values = {"PATCHBAY_MODEL_URI": "models:/digits@champion"}
    environment = {
        name: substituted(value, **values)
        for name, value in SERVICES["patchbay"]["environment"].items()
    }
    settings = Settings.from_environment(environment)
    assert settings.model_uri == "models:/digits@champion"
    assert settings.admin_token is None


def test_images_are_pinned_and_the_service_s_is_the_one_that_the_page_builds() -> None:
    assert f"--image-tag {image()}\n" in PAGE
    for name in ("patchbay", "cache-owner"):
        assert substituted(SERVICES[name]["image"]) == image()
    assert re.fullmatch(r"postgres:\d+\.\d+-alpine", SERVICES["postgres"]["image"])
    assert SERVICES["mlflow"]["image"] == f"patchbay-mlflow:{locked()['mlflow']}"
    build = SERVICES["mlflow"]["build"]
    assert build["context"] == ".."
    *_, install = build["dockerfile_inline"].strip().splitlines()
    assert install.split()[-2:] == ["mlflow", "psycopg2-binary"]
    assert {"mlflow", "psycopg2-binary"} <= locked().keys()


def test_the_cache_belongs_to_the_user_that_the_service_runs_as() -> None:
    owner, service = SERVICES["cache-owner"], SERVICES["patchbay"]
    assert owner["entrypoint"] == ["chown", f"{BENTO_UID_GID}:{BENTO_UID_GID}", "/cache"]
    assert owner["volumes"] == service["volumes"] == ["cache:/cache"]
    assert service["environment"]["PATCHBAY_CACHE"] == "/cache"
    condition = service["depends_on"]["cache-owner"]["condition"]
    assert condition == "service_completed_successfully"


def test_every_volume_and_every_service_that_is_named_is_there() -> None:
    mounted = {one.split(":")[0] for s in SERVICES.values() for one in s.get("volumes", [])}
    assert mounted == set(COMPOSE["volumes"])
    for one in SERVICES.values():
        assert one.get("depends_on", {}).keys() <= SERVICES.keys()


def test_an_answer_has_time_to_be_ended() -> None:
    seconds = int(SERVICES["patchbay"]["stop_grace_period"].removesuffix("s"))
    assert seconds >= Settings().deadline_seconds + 5


@pytest.fixture(scope="module")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server of the file on a real PostgreSQL, with other places for what is elsewhere here."""
    if reason := missing_for_postgres():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("compose")
    program, *arguments = SERVICES["mlflow"]["command"]
    assert program == "mlflow"
    environment = {
        name: substituted(value, POSTGRES_PASSWORD="secret")
        for name, value in SERVICES["mlflow"]["environment"].items()
    }
    # One of the two workers that doesn't answer within this many seconds is killed: 5 is too few
    # for a machine on which other tests run.
    environment["UVICORN_TIMEOUT_WORKER_HEALTHCHECK"] = "300"
    with postgres_server() as backend:
        here = {
            "--host": "127.0.0.1",
            "--backend-store-uri": backend,
            "--artifacts-destination": str(folder / "artifacts"),
        }
        given = dict(one.partition("=")[::2] for one in arguments if one.startswith("--"))
        assert here.keys() <= given.keys()
        with run_mlflow_server(
            folder, lambda port: changed(arguments, {**here, "--port": str(port)}), environment
        ) as url:
            yield url


def changed(arguments: list[str], values: dict[str, str]) -> list[str]:
    """Arguments with other values, and one more name that the server may be called by."""
    found = []
    for one in arguments:
        name, _, value = one.partition("=")
        if name == "--allowed-hosts":
            value += f",127.0.0.1:{values['--port']}"
        value = values.get(name, value)
        found.append(f"{name}={value}" if value else name)
    return found


@pytest.mark.slow  # PostgreSQL, MLflow with two workers, and the service
def test_the_services_work_together(mlflow_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for host, status in (("mlflow:5000", 200), ("localhost:5000", 200), ("elsewhere:5000", 403)):
        asked = requests.post(
            f"{mlflow_url}/api/2.0/mlflow/experiments/search",
            json={"max_results": 1},
            headers={"Host": host},
            timeout=300,
        )
        assert asked.status_code == status, host
    assert requests.get(f"{mlflow_url}/health", timeout=300).status_code == 200
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    register_patched(None)
    images = random_images(5, 8, 8, 1)
    expected = predict(Registry.open().load_patched("models:/served/1"), images)
    settings = Settings(model_uri="models:/served@champion", device="cpu")
    with (
        running_service(settings, start_seconds=600) as service,
        PredictClient(service.url) as client,
    ):
        answer = client.predict(npy_bytes(images))
        found = [list(one.scores.values()) for one in answer.predictions]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert answer.response.model.uri == "models:/served/1"


def test_only_files_of_manifests_are_there() -> None:
    assert sorted(path.name for path in DEPLOY.iterdir() if path.name != ".env") == [
        "compose.yaml",
        "kubernetes.yaml",
    ]
    assert Path(DEPLOY / "compose.yaml").read_text().isascii()
