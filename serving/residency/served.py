"""A model version in memory, and all of them together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from serving.errors import UnknownModelError
from serving.protocol import ModelDescription, ModelIdentity

if TYPE_CHECKING:  # torch takes seconds to import: /livez answers before it is there
    from serving.engine.engine import Engine

Key = tuple[str, int]


@dataclass(eq=False)
class ServedModel:
    """One patched version that can answer.

    Attributes:
        engine: its networks.
        digest: SHA-256 of its ``bundle.json``.
        leases: closed when it is not needed any more: gives its parts back.
        from_cache: whether it was loaded while the registry could not be reached.
        description: what it was made of and judged by, as known when it was loaded.
    """

    engine: Engine
    digest: str
    leases: ExitStack = field(default_factory=ExitStack)
    from_cache: bool = False
    description: ModelDescription = field(kw_only=True)
    users: int = 0
    is_retired: bool = False

    @property
    def identity(self) -> ModelIdentity:
        """What its answers name as their model."""
        return self.engine.identity

    @property
    def key(self) -> Key:
        """Name and version."""
        return self.identity.name, self.identity.version


class Residents:
    """The models in memory; one of them may be active: it answers where no other is named.

    A model that is taken out answers the requests that it has begun, then gives back what it
    holds. Any thread may call.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._models: dict[Key, ServedModel] = {}
        self._active: ServedModel | None = None
        self._kept: set[Key] = set()

    @property
    def active(self) -> ServedModel | None:
        """The model that answers where no other is named."""
        return self._active

    def all(self) -> list[ServedModel]:
        """Every model in memory that can be asked, by name and version."""
        with self._lock:
            return [self._models[key] for key in sorted(self._models)]

    def is_kept(self, key: Key) -> bool:
        """Whether a model stays when it is no longer the active one."""
        with self._lock:
            return key in self._kept

    @contextmanager
    def lease(self, name: str | None = None, version: int | None = None) -> Iterator[ServedModel]:
        """Use a model; it stays whole until the block ends.

        Args:
            name: None for the active one.
            version: None for the active one of that name, else its highest.

        Raises:
            UnknownModelError: if there is no such model in memory.
        """
        with self._lock:
            served = self._chosen(name, version)
            served.users += 1
        try:
            yield served
        finally:
            with self._lock:
                served.users -= 1
                is_over = served.is_retired and not served.users
            if is_over:
                served.leases.close()

    def activate(self, served: ServedModel) -> None:
        """From now on this one answers; the one before goes, unless it is kept."""
        with self._lock:
            before, self._active = self._active, served
            known = self._models.get(served.key)
            self._models[served.key] = served
            leaving = {id(one): one for one in (before, known) if one and one is not served}
            over = [one for one in leaving.values() if self._lets_go(one)]
        _close(over)

    def keep(self, served: ServedModel) -> bool:
        """Have a model beside the active one, until `drop`.

        Of two that are one version, by their digests, the one that was there stays; and the active
        one always does. Another one, which had the same number before, goes.

        Returns:
            Whether it is there, or the one that stays is; not if it was let go of before.
        """
        with self._lock:
            if served.is_retired:
                return False
            self._kept.add(served.key)
            before = self._models.get(served.key)
            over = []
            if before is None:
                self._models[served.key] = served
            elif before is not served:
                if before.digest == served.digest or before is self._active:
                    served.is_retired = True
                    over = [served]
                else:
                    self._models[served.key] = served
                    over = [before] if self._lets_go(before) else []
        _close(over)
        return True

    def drop(self, key: Key) -> bool:
        """Let a model go unless it is the active one; gives whether it was there."""
        with self._lock:
            self._kept.discard(key)
            served = self._models.get(key)
            over = [served] if served is not None and self._lets_go(served) else []
        _close(over)
        return served is not None

    def clear(self) -> None:
        """Let go of every model."""
        with self._lock:
            self._active = None
            self._kept.clear()
            over = [one for one in list(self._models.values()) if self._lets_go(one)]
        _close(over)

    def _chosen(self, name: str | None, version: int | None) -> ServedModel:
        active = self._active
        if name is None:
            if active is None:
                raise UnknownModelError("no model is active")
            return active
        if version is None:
            if active is not None and active.identity.name == name:
                return active
            version = max((key[1] for key in self._models if key[0] == name), default=None)
        served = None if version is None else self._models.get((name, version))
        if served is None:
            there = ", ".join(f"{key[0]}/{key[1]}" for key in sorted(self._models)) or "none"
            which = name if version is None else f"{name}/{version}"
            raise UnknownModelError(f"{which} is not in memory; there is {there}")
        return served

    def _lets_go(self, served: ServedModel) -> bool:
        """Take a model out, if nothing holds it; gives whether nobody is using it either."""
        if served is self._active:
            return False
        if self._models.get(served.key) is served:
            if served.key in self._kept:
                return False
            del self._models[served.key]
        was_retired, served.is_retired = served.is_retired, True
        return not was_retired and not served.users


def _close(over: list[ServedModel]) -> None:
    for one in over:
        one.leases.close()
