"""The active model is what an address stands for, now and when its alias moves."""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Event, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING

from serving.errors import ModelError, ServingError
from serving.residency.state import ServiceState
from serving.telemetry import Telemetry

if TYPE_CHECKING:  # MLflow and torch take seconds to import: /livez answers before they are there
    from registry.version import Version
    from serving.residency.building import Builder
    from serving.residency.sources import Source

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 300.0


class Outcome(StrEnum):
    """What looking where an address stands came to."""

    UNCHANGED = "unchanged"
    SWAPPED = "swapped"
    FROM_CACHE = "from_cache"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


@dataclass
class _Failure:
    """A version that could not be loaded, which is not tried again at each look."""

    digest: str
    pause_seconds: float
    until: float


class Follower:
    """Keeps the active model where an address stands.

    The new version is loaded, verified and warmed beside the old one, then swapped. Whatever goes
    wrong, the old one goes on; a version that can't be loaded is tried again after a pause that
    grows. Without the registry the first model comes from this machine's cache, if it was served
    here before. An archive is read like a registry in which nothing moves.

    Args:
        state: the service's; its settings name the address or the archive.
        builder: makes models that answer.
        telemetry: what is counted.
        home: of the registry, as `registry.registry.Registry.open` takes it.
    """

    def __init__(
        self,
        state: ServiceState,
        builder: Builder,
        telemetry: Telemetry,
        *,
        home: Path | str | None = None,
    ) -> None:
        self._state = state
        self._builder = builder
        self._telemetry = telemetry
        self._home = home
        self._registry: Source | None = None
        self._failure: _Failure | None = None
        self._told = ""
        self._looking = Lock()
        self._wake = Event()
        self._is_over = False
        self._is_first = False

    def start(self) -> Thread:
        """Look at once and then again and again, in a thread that holds nothing up."""
        thread = Thread(target=self._follow, name="patchbay-follower", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Look no further."""
        self._is_over = True
        self._wake.set()

    def wake(self) -> None:
        """Look now, in the follower's thread, also at a version that could not be loaded."""
        self._wake.set()

    def registry(self) -> Source:
        """The registry or the archive, opened when it is first asked for and when it was replaced.

        Raises:
            RegistryError: if it can't be opened.
        """
        from serving.residency.sources import open_source

        if self._registry is None or not self._registry.is_current:
            self._registry = open_source(self._state.settings.archive, self._home)
        return self._registry

    @property
    def _asked(self) -> str:
        """What the settings name: an address, or an archive's path."""
        return self._state.settings.model_uri or str(self._state.settings.archive)

    @property
    def trouble(self) -> str:
        """What is wrong since the last look; empty if nothing is."""
        return self._told

    def look(self, *, is_asked: bool = False) -> Outcome:
        """Look where the address stands, and follow it; nothing is raised.

        Args:
            is_asked: whether a version that could not be loaded is tried again without a pause.
        """
        with self._looking:
            if is_asked:
                self._failure = None
            try:
                outcome = self._look()
            except Exception as error:  # of our own; the thread that looks must not end with it
                self._fail(f"{self._asked} can't be followed", error)
                outcome = Outcome.FAILED
        if outcome is not Outcome.UNCHANGED:
            self._telemetry.count_reload(outcome.value)
        return outcome

    def _follow(self) -> None:
        seconds = self._state.settings.poll_seconds
        self._is_first = True
        self.look()
        while not self._is_over:
            is_asked = self._wake.wait(seconds or None)
            if is_asked:  # after a timeout it may just have been set: that is for the next look
                self._wake.clear()
            if not self._is_over:
                self.look(is_asked=is_asked)

    def _look(self) -> Outcome:
        try:
            version = self._find()
        except Exception as error:
            return self._without_the_registry(self._asked, error)
        active = self._state.residents.active
        if active is not None and (active.identity.uri, active.digest) == (
            version.uri,
            version.digest,
        ):
            active.from_cache = False
            self._say("")
            return Outcome.UNCHANGED
        if self._is_too_soon(version):
            return Outcome.UNCHANGED
        return self._swap(version)

    def _find(self) -> Version:
        from serving.residency.sources import find_served

        try:
            return find_served(self.registry(), self._state.settings.model_uri)
        finally:
            if self._is_first:
                self._is_first = False
                # What was made at the start is no garbage, and would cost a tenth of a second a
                # look. No model is among it yet: what is frozen in a cycle never goes.
                gc.collect()
                gc.freeze()

    def _swap(self, version: Version) -> Outcome:
        try:
            served = self._builder.build(self.registry(), version)
        except Exception as error:
            self._note_failure(version)
            self._fail(f"{version.uri} can't be loaded", error)
            return Outcome.FAILED
        self._failure = None
        if self._is_over:
            served.leases.close()
            return Outcome.UNCHANGED
        before = self._state.residents.active
        self._state.residents.activate(served)
        self._telemetry.note_active(version.name, version.version)
        if self._state.settings.archive is None:
            self._builder.remember(self._asked, version)
        self._say("")
        logger.info(
            "serving %s%s", version.uri, f" in place of {before.identity.uri}" if before else ""
        )
        return Outcome.SWAPPED

    def _without_the_registry(self, asked: str, error: Exception) -> Outcome:
        """The registry doesn't say where the address stands: go on as before, or begin so."""
        from registry.errors import StoreError

        if not isinstance(error, StoreError):  # it was reached, and there is no such version
            self._fail(f"{asked} can't be loaded", error)
            return Outcome.FAILED
        if self._state.residents.active is None:
            try:
                served = self._builder.recall(asked)
            except Exception as missing:
                self._fail(f"{asked} can't be loaded", error)
                unexpected = None if _is_expected(missing) else missing
                logger.warning("nor can it be had from the cache: %s", missing, exc_info=unexpected)
                return Outcome.FAILED
            self._state.residents.activate(served)
            self._telemetry.note_active(served.identity.name, served.identity.version)
            self._say(
                f"the registry can't be reached ({error}); serving {served.identity.uri} from the "
                "cache, where the address stood last"
            )
            return Outcome.FROM_CACHE
        self._say(f"the registry can't be reached ({error}); serving as before")
        return Outcome.UNREACHABLE

    def _fail(self, what: str, error: Exception) -> None:
        """Say why there is no new model; and, if there is none at all, let requests know."""
        expected = _is_expected(error)
        reason = str(error) if expected else f"{type(error).__name__}: {error}"
        going_on = self._state.residents.active is not None
        told = f"{what}: {reason}" + ("; serving as before" if going_on else "")
        if told != self._told:
            logger.error("%s", told, exc_info=None if expected else error)
        self._told = told
        if isinstance(error, ModelError):
            self._state.fail(error.code, str(error))
        else:
            self._state.fail("load_failed", f"{what}: {reason}")

    def _say(self, warning: str) -> None:
        """Warn once of what goes on for long."""
        if warning and warning != self._told:
            logger.warning("%s", warning)
        elif self._told and not warning:
            logger.info("the registry is as it should be again")
        self._told = warning

    def _is_too_soon(self, version: Version) -> bool:
        failure = self._failure
        return (
            failure is not None and failure.digest == version.digest and monotonic() < failure.until
        )

    def _note_failure(self, version: Version) -> None:
        pause = _FIRST_PAUSE_SECONDS
        if self._failure is not None and self._failure.digest == version.digest:
            pause = min(2 * self._failure.pause_seconds, _LONGEST_PAUSE_SECONDS)
        self._failure = _Failure(version.digest, pause, monotonic() + pause)


def _is_expected(error: Exception) -> bool:
    """Whether the message was written for a user, so that no traceback is needed."""
    from modularizer.errors import ModularizerError
    from registry.errors import RegistryError

    return isinstance(error, ModularizerError | RegistryError | ServingError)
