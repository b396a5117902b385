"""A clock that jumps."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import sleep

import httpx
import pytest

from registry.registry import Registry
from serving.launch import RunningService, running_service
from serving.settings import Settings
from tests.serving.traffic import Traffic, answers_offline, wait_for
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.slow

# Python reads such a module first, in every process of the service.
PROGRAM = """
import pathlib
import time

real = time.time, time.time_ns
offset = pathlib.Path({path!r})


def seconds():
    try:
        return float(offset.read_text())
    except (OSError, ValueError):
        return 0.0


time.time = lambda: real[0]() + seconds()
time.time_ns = lambda: real[1]() + int(seconds() * 1e9)
"""


@pytest.fixture
def jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Puts the service's wall clock on or back by so many days."""
    folder, offset = tmp_path / "site", tmp_path / "offset"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(PROGRAM.format(path=str(offset)))
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), before])))

    def put(days: float) -> None:
        unfinished = offset.with_suffix(".new")
        unfinished.write_text(str(86400 * days))
        unfinished.replace(offset)

    return put


def is_ahead(service: RunningService, days: float) -> bool:
    """Whether its log's last line of ours is so many days ahead of this process's clock."""
    ours = [line for line in service.log_tail(20).splitlines() if line.startswith("{")]
    if not ours:
        return False
    ahead = datetime.fromisoformat(json.loads(ours[-1])["time"]) - datetime.now(UTC)
    return round(ahead / timedelta(days=1)) == days


def test_nothing_waits_and_nothing_ends_because_a_clock_jumps(
    settings: Settings, jump: Callable[[float], None]
) -> None:
    assert settings.home is not None
    registry = Registry.open(settings.home)
    offline = answers_offline(settings.home)
    with running_service(settings) as service, Traffic(service, offline) as traffic:
        traffic.wait_for_answers()
        for version, days in ((1, 400.0), (2, -400.0), (1, 0.0)):
            jump(days)
            traffic.wait_for_answers(20)
            registry.aliases.promote(f"models:/served/{version}", "champion")
            wait_for(service, f"models:/served/{version}")
            traffic.wait_for_answers(20)
            wait_until(partial(is_ahead, service, days), "the log has the day")
            status = httpx.get(
                service.url + "/status", trust_env=False, timeout=PATIENCE_SECONDS
            ).json()
            assert 0 < status["seconds_since_start"] < 600
        sleep(1)
    traffic.require_faultless()
