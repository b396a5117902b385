"""A home whose alias moves, and the wait until it is followed."""

from __future__ import annotations

from pathlib import Path

from registry.registry import Registry
from serving.residency.state import ServiceState
from tests.waiting import wait_until

CHAMPION = "models:/served@champion"


def move(home: Path, version: int) -> None:
    Registry.open(home).aliases.promote(f"models:/served/{version}", "champion")


def wait_for(state: ServiceState, version: int) -> None:
    def is_served() -> bool:
        active = state.residents.active
        return active is not None and active.identity.version == version

    wait_until(is_served, f"version {version} is served")
