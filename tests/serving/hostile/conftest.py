"""Whatever is sent in these tests, ordinary clients beside it get their right answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from serving.launch import RunningService
from tests.serving.traffic import Offline, Traffic, answers_offline


@pytest.fixture(scope="session")
def offline(home: Path) -> Offline:
    return answers_offline(home, versions=(1,))


@pytest.fixture(scope="module")
def ordinary_clients(service: RunningService, offline: Offline) -> Iterator[Traffic]:
    with Traffic(service, offline, clients=2, pause_seconds=0.005) as traffic:
        yield traffic


@pytest.fixture(autouse=True)
def nobody_else_is_harmed(service: RunningService, ordinary_clients: Traffic) -> Iterator[None]:
    """The ordinary clients are answered after each test, too, and by the same process."""
    before = workers(service)
    yield
    ordinary_clients.wait_for_answers(2)
    ordinary_clients.require_faultless()
    assert workers(service) == before


def workers(service: RunningService) -> set[int]:
    return {one.pid for one in psutil.Process(service.process.pid).children()}


@pytest.fixture
def connection(service: RunningService) -> Iterator[httpx.Client]:
    """A client for what is hostile."""
    with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as client:
        yield client
