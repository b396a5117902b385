"""The real service under traffic while its alias moves and models come and go."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import httpx
import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
from numpy.typing import NDArray

from modularizer.classifier import predict
from registry.registry import Registry
from serving.client import PredictClient, npy_bytes
from serving.errors import ClientError
from serving.launch import RunningService, running_service
from serving.settings import Settings
from tests.serving.samples import random_images, register_patched

IMAGES = random_images(40, 8, 8, 1)
POLL_SECONDS = 0.2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions that answer differently, the alias on the second."""
    home = tmp_path_factory.mktemp("reloading")
    register_patched(home)
    register_patched(home, seed=2)
    return home


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[RunningService]:
    settings = Settings(
        model_uri="models:/served@champion", home=home, device="cpu", poll_seconds=POLL_SECONDS
    )
    with running_service(settings) as running:
        yield running


@pytest.fixture(scope="module")
def offline(home: Path) -> dict[str, NDArray[np.float32]]:
    """What each version answers for `IMAGES`."""
    registry = Registry.open(home)
    found = {
        uri: predict(registry.load_patched(uri), IMAGES)
        for uri in ("models:/served/1", "models:/served/2")
    }
    first, second = found.values()
    assert not np.allclose(first, second, atol=1e-3)
    return found


@dataclass
class Traffic:
    """Clients that ask until they are told to stop, and compare what they hear.

    Attributes:
        answers: by the version that was named.
        wrong: what was not the answer of the version that it named, or no answer.
    """

    url: str
    offline: dict[str, NDArray[np.float32]]
    clients: int = 4
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Traffic:
        self._threads = [
            threading.Thread(target=self._ask, args=(number,)) for number in range(self.clients)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        with PredictClient(self.url) as client:
            while not self.is_over.is_set():
                number = (number + 1) % len(IMAGES)
                try:
                    response = client.predict(npy_bytes(IMAGES[number])).response
                except ClientError as error:
                    self.wrong.append(str(error))
                    continue
                uri = response.model.uri
                found = list(response.predictions[0].scores.values())
                if not np.allclose(found, self.offline[uri][number], atol=1e-5):
                    self.wrong.append(f"{uri} on image {number}: {found}")
                self.answers[uri] += 1


def serving(service: RunningService) -> str:
    response = httpx.get(service.url + "/readyz", trust_env=False)
    assert response.status_code == 200
    return str(response.json()["model"]["uri"])


def wait_for(service: RunningService, uri: str, seconds: float = 20) -> None:
    deadline = monotonic() + seconds
    while serving(service) != uri:
        assert monotonic() < deadline, f"{uri} was not served within {seconds} seconds"
        sleep(0.05)


def test_while_the_alias_moves_no_request_fails_and_no_answer_is_another_version_s(
    service: RunningService, home: Path, offline: dict[str, NDArray[np.float32]]
) -> None:
    registry = Registry.open(home)
    with Traffic(service.url, offline) as traffic:
        for version in (1, 2, 1, 2, 1):
            registry.aliases.promote(f"models:/served/{version}", "champion")
            wait_for(service, f"models:/served/{version}")
    assert traffic.wrong == []
    assert set(traffic.answers) == {"models:/served/1", "models:/served/2"}
    assert sum(traffic.answers.values()) > 50


def test_the_registry_may_go_and_come_back(
    service: RunningService, home: Path, offline: dict[str, NDArray[np.float32]]
) -> None:
    registry = Registry.open(home)
    before = serving(service)
    other = f"models:/served/{3 - int(before[-1])}"
    registry.aliases.promote(other, "champion")
    wait_for(service, other)
    database = home / "mlflow.db"
    good = database.read_bytes()
    with Traffic(service.url, offline, clients=1) as traffic:
        database.write_bytes(b"no database" * 1000)
        sleep(5 * POLL_SECONDS)
        assert serving(service) == other
        database.write_bytes(good)
        registry.aliases.promote(before, "champion")
        wait_for(service, before)
    assert traffic.wrong == []
    assert "the registry can't be reached" in service.log_tail(2000)


@pytest.mark.slow
def test_a_minute_of_traffic_and_change_leaves_memory_where_it_was(
    service: RunningService, home: Path, offline: dict[str, NDArray[np.float32]]
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
                )
                assert response.status_code in (200, 409), response.text
        response = httpx.post(f"{service.url}/v2/repository/models/nothing/load", trust_env=False)
        assert response.status_code == 404

    def size_bytes() -> int:
        return sum(one.memory_info().rss for one in workers)

    with Traffic(service.url, offline, clients=3) as traffic:
        for version in (1, 2, 1, 2):
            change(version)
        sleep(10)
        before, deadline = size_bytes(), monotonic() + 60
        changes = 0
        while monotonic() < deadline:
            change(1 + changes % 2)
            changes += 1
            sleep(3)
        after = size_bytes()
    assert traffic.wrong == []
    assert changes > 5
    assert after < 1.05 * before
