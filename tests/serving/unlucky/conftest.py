"""What befalls a service that is not its clients' doing."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from serving.launch import RunningService
from serving.settings import Settings
from tests.serving.samples import register_patched
from tests.waiting import PATIENCE_SECONDS

POLL_SECONDS = 0.2


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two versions that answer differently, the alias on the second."""
    home = tmp_path / "home"
    register_patched(home)
    register_patched(home, seed=2)
    return home


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(
        model_uri="models:/served@champion", home=home, device="cpu", poll_seconds=POLL_SECONDS
    )


def ready(service: RunningService, *, seconds: float = PATIENCE_SECONDS) -> httpx.Response | None:
    """What ``/readyz`` says; None if nobody answers in that time."""
    try:
        return httpx.get(service.url + "/readyz", trust_env=False, timeout=seconds)
    except httpx.HTTPError:
        return None
