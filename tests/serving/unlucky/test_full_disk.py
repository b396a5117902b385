"""A disk that is full where bundles are cached."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.registry import Registry
from serving.launch import running_service
from serving.settings import Settings
from tests.serving.traffic import Traffic, answers_offline, reloads, serving, wait_for
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs a tmpfs, as root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes what room there is."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for piece in (65536, 1):
            try:
                while True:
                    file.write(bytes(piece))
            except OSError:
                continue
    return filler


def test_a_full_disk_keeps_the_old_version_serving_until_there_is_room(
    settings: Settings, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.home is not None
    offline = answers_offline(settings.home)
    registry = Registry.open(settings.home)
    registry.aliases.promote("models:/served/1", "champion")
    monkeypatch.setenv("PATCHBAY_CACHE", str(disk / "cache"))  # the service's, not ours
    log = disk / "service.log"
    with (
        running_service(settings, log_path=log) as service,
        Traffic(service, offline) as traffic,
    ):
        monkeypatch.delenv("PATCHBAY_CACHE")
        traffic.wait_for_answers()
        filler = fill(disk)
        registry.aliases.promote("models:/served/2", "champion")
        wait_until(lambda: reloads(service, "failed") > 1, "it is tried again")
        assert serving(service) == "models:/served/1"
        scratch = disk / "cache" / "scratch"
        wait_until(lambda: not list(scratch.glob("*/*")), "nothing is left behind")
        traffic.wait_for_answers(20)
        filler.unlink()
        wait_for(service, "models:/served/2", seconds=300)
        traffic.wait_for_answers(20)
    traffic.require_faultless()
    assert set(traffic.answers) == {"models:/served/1", "models:/served/2"}


def test_with_a_full_disk_it_starts_with_what_the_cache_has(
    settings: Settings, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBAY_CACHE", str(disk / "cache"))
    assert settings.home is not None
    offline = answers_offline(settings.home)
    fill(disk)
    with running_service(settings) as service, Traffic(service, offline) as traffic:
        traffic.wait_for_answers(20)
    traffic.require_faultless()
