"""What happens to a service meanwhile: its alias moves, class modules come and go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import cycle
from threading import Event, Thread
from time import perf_counter, sleep
from types import TracebackType
from typing import Any, Self

import httpx

from benchmarks.serving.cores import on_core
from benchmarks.soak.settings import SoakSettings
from benchmarks.soak.versions import ALIAS, Versions
from registry.naming import parse_address
from registry.registry import Registry
from serving.errors import ServingError

_PAUSE_SECONDS = 0.1
_TIMEOUT_SECONDS = 30.0


class SoakError(ServingError):
    """What happens beside the load did not happen as it should."""


@dataclass(frozen=True)
class AliasMove:
    """One move of the alias.

    Attributes:
        at_seconds: since the start.
        uri: where to.
        served_after_seconds: from the start of the move until the service said that it serves
            it; None if it did not, though `move_seconds` had passed since the alias stood there.
    """

    at_seconds: float
    uri: str
    served_after_seconds: float | None


@dataclass
class Happened:
    """All that was done.

    Attributes:
        moves: of the alias.
        loaded: how many class modules were brought into memory.
        unloaded: how many were let go of.
        refused: what the service answered where it did not do so.
    """

    moves: list[AliasMove] = field(default_factory=list)
    loaded: int = 0
    unloaded: int = 0
    refused: list[str] = field(default_factory=list)

    def round_bounds(self, first: str, after_seconds: float, until_seconds: float) -> list[float]:
        """When each round of the alias began: the seconds of its moves to that version.

        Args:
            first: the URI of the version that a round begins with.
            after_seconds: rounds that began before are left out.
            until_seconds: so are those that began later.
        """
        return [
            move.at_seconds
            for move in self.moves
            if move.uri == first and after_seconds <= move.at_seconds <= until_seconds
        ]

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


class Changes:
    """Moves the alias and loads class modules, in two threads, until its block ends.

    Args:
        registry: where the versions are.
        versions: what to move between, and what to load.
        url: of the service, on this machine.
        settings: how often.
        core: that both threads keep to, so that the service has its own.

    Attributes:
        happened: what was done so far.
    """

    def __init__(
        self,
        registry: Registry,
        versions: Versions,
        url: str,
        settings: SoakSettings,
        *,
        core: int | None,
    ) -> None:
        self._registry = registry
        self._versions = versions
        self._url = url
        self._settings = settings
        self._core = core
        self._is_over = Event()
        self._began = 0.0
        self._errors: list[Exception] = []
        self._threads = [
            Thread(target=self._keep, args=(work,), name=f"soak-{work.__name__}", daemon=True)
            for work in (self._move, self._load)
        ]
        self.happened = Happened()

    def __enter__(self) -> Self:
        self._began = perf_counter()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        if error is None and self._errors:
            raise SoakError(f"what was to happen beside the load ended: {self._errors[0]!r}") from (
                self._errors[0]
            )

    @property
    def is_running(self) -> bool:
        """Whether both are at it still: one that met an error has ended."""
        return all(thread.is_alive() for thread in self._threads)

    def _keep(self, work: Callable[[httpx.Client], None]) -> None:
        try:
            with (
                on_core(self._core),
                httpx.Client(
                    base_url=self._url, timeout=_TIMEOUT_SECONDS, trust_env=False
                ) as client,
            ):
                work(client)
        except Exception as error:
            self._errors.append(error)

    def _move(self, client: httpx.Client) -> None:
        first, *others = self._versions.uris
        for uri in cycle((*others, first)):
            if self._is_over.wait(self._settings.move_seconds):
                return
            began = perf_counter()
            self._registry.aliases.promote(uri, ALIAS)
            took = self._wait_until_served(client, uri, began)
            self.happened.moves.append(AliasMove(began - self._began, uri, took))

    def _wait_until_served(self, client: httpx.Client, uri: str, began: float) -> float | None:
        deadline = perf_counter() + self._settings.move_seconds
        while client.get("/readyz").json()["model"]["uri"] != uri:
            if perf_counter() > deadline:
                return None
            sleep(_PAUSE_SECONDS)  # also past the end: what was begun is seen through
        return perf_counter() - began

    def _load(self, client: httpx.Client) -> None:
        for uri in cycle(self._versions.spare):
            for verb in ("load", "unload"):
                if self._is_over.wait(self._settings.load_seconds):
                    return
                name = parse_address(uri).name
                response = client.post(f"/v2/repository/models/{name}/{verb}")
                if response.status_code != httpx.codes.OK:
                    self.happened.refused.append(f"{verb} {uri}: {response.text[:300]}")
                elif verb == "load":
                    self.happened.loaded += 1
                else:
                    self.happened.unloaded += 1
