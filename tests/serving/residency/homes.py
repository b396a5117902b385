"""A home whose alias moves, and the wait until it is followed."""

from __future__ import annotations

from pathlib import Path
from time import sleep

from registry.registry import Registry
from serving.residency.state import ServiceState

CHAMPION = "models:/served@champion"


def move(home: Path, version: int) -> None:
    Registry.open(home).aliases.promote(f"models:/served/{version}", "champion")


def wait_for(state: ServiceState, version: int) -> None:
    for _ in range(600):
        active = state.residents.active
        if active is not None and active.identity.version == version:
            return
        sleep(0.05)
    raise AssertionError(f"version {version} was not served within 30 seconds")
