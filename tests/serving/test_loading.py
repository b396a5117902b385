"""Models of an ordinary size that come and go in the real service."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
import torch

from registry.registry import Registry
from serving.launch import running_service
from serving.settings import Settings
from tests.serving.devices import DEVICES, Device
from tests.serving.samples import register_patched
from tests.serving.traffic import Traffic, answers_offline
from tests.waiting import PATIENCE_SECONDS

HIDDEN = (2300, 2300)
"""Makes a class module of more than 20 MB."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """``served/1`` is small and active; 2 to 4 have large modules; one file of 4 was changed."""
    home = tmp_path / "home"
    register_patched(home)
    for seed in (2, 3, 4):
        register_patched(home, seed=seed, hidden=HIDDEN)
    registry = Registry.open(home)
    registry.aliases.promote("models:/served/1", "champion")
    shutil.rmtree(home / "cache", ignore_errors=True)
    module = registry.find("models:/strong.TC/4")
    weights = home / "artifacts" / "models" / module.model_id / "artifacts" / "weights.safetensors"
    raw = bytearray(weights.read_bytes())
    assert len(raw) > 20 * 2**20
    raw[-1] ^= 1
    weights.write_bytes(raw)
    return home


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("device", DEVICES)
def test_a_hundred_loads_and_unloads_leave_memory_where_it_was(home: Path, device: Device) -> None:
    """Others that fail, for a changed file or for want of room, are among them."""
    settings = Settings(
        model_uri="models:/served@champion", home=home, device=device, memory_bytes=35 * 2**20
    )
    offline = answers_offline(home, versions=(1,))
    with running_service(settings) as service:
        [worker] = psutil.Process(service.process.pid).children()

        def ask(action: str, version: int) -> int:
            response = httpx.post(
                f"{service.url}/v2/repository/models/served/{action}",
                json={"parameters": {"version": version}},
                trust_env=False,
                timeout=PATIENCE_SECONDS,
            )
            return response.status_code

        def cycle(number: int) -> None:
            good = 2 + number % 2
            assert ask("load", good) == 200
            if number % 3:
                assert ask("load", 4 if number % 3 == 1 else 5 - good) == 422
            assert ask("unload", good) == 200

        with Traffic(service, offline, clients=1, pause_seconds=0.02) as traffic:
            for number in range(9):
                cycle(number)
            before, before_there = worker.memory_info().rss, used_on(device)
            for number in range(100):
                cycle(number)
            after, after_there = worker.memory_info().rss, used_on(device)
    traffic.require_faultless()
    assert set(traffic.answers) == {"models:/served/1"}
    assert abs(after - before) < 0.05 * before, f"{before} bytes became {after}"
    assert after_there == before_there


def used_on(device: Device) -> int:
    """Bytes of a GPU that anybody uses; nothing else runs there. 0 of a CPU."""
    if device == "cpu":
        return 0
    free, total = torch.cuda.mem_get_info()
    return total - free
