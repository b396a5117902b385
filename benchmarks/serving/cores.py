"""One core for the service, another for who asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Cores:
    """Which core does what; None where processes can't be kept to cores.

    Attributes:
        service: of what is measured.
        load: of the load generator.
    """

    service: int | None
    load: int | None

    @property
    def are_shared(self) -> bool:
        """Whether the generator takes time from the service: figures are then too low."""
        return self.service == self.load

    def as_json(self) -> dict[str, Any]:
        """Both, and whether they are one."""
        return asdict(self) | {"shared": self.are_shared}


def choose_cores() -> Cores:
    """The last and the first core that this process may use; the same if there is one only."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores(None, None)
    cores = sorted(os.sched_getaffinity(0))
    return Cores(service=cores[-1], load=cores[0])


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Keep this thread, and the processes that it starts meanwhile, on one core.

    Args:
        core: its number; None changes nothing.
    """
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
