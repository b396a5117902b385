"""Waiting for what comes about, however busy the machine is."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep

PATIENCE_SECONDS = 120
"""Longer than a busy machine keeps anything waiting that comes at all."""


def wait_until(
    is_so: Callable[[], bool], what: str = "it is so", seconds: float = PATIENCE_SECONDS
) -> None:
    """Look twenty times a second until it is so; fails if it is not in that time."""
    deadline = monotonic() + seconds
    while not is_so():
        assert monotonic() < deadline, f"not within {seconds} seconds: {what}"
        sleep(0.05)
