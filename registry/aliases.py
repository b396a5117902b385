"""Aliases move on record, and never to a version that can't be used."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from filelock import FileLock

from registry.errors import BundleError, NotFoundError, RegistryError
from registry.history import Move, trail
from registry.loading import Loader
from registry.naming import Address, require_alias, require_name
from registry.store.client import Store
from registry.store.moves import list_moves, recorded_move
from registry.store.versions import drop_alias, get_version, set_alias, version_behind
from registry.version import UnreadVersion, Version

logger = logging.getLogger(__name__)


class Aliases:
    """The aliases of a store.

    On the embedded store one process moves them at a time. MLflow itself can't compare and set:
    where two users of a server move one alias at once the later move stands, and both are on
    record.

    Args:
        store: an open store.
        loader: of the same store.
    """

    def __init__(self, store: Store, loader: Loader) -> None:
        self._store = store
        self._loader = loader

    def promote(
        self,
        version: Version,
        alias: str,
        *,
        reason: str = "",
        forced: bool = False,
        verdict: Mapping[str, Any] | None = None,
    ) -> Version | UnreadVersion | None:
        """Point an alias at a version; gives the version that it pointed at before, or None.

        The version is loaded first, with all its parts. Nothing is recorded where nothing moves.

        Raises:
            AddressError: if the alias is not a legal one.
            BundleError: if the version, or a part of it, is not what was registered.
        """
        require_alias(alias)
        self._loader.load(version)
        with self._alone():
            before = version_behind(self._store, version.name, alias)
            if before is not None and before.version == version.version:
                return before
            with recorded_move(
                self._store,
                "promotion",
                alias,
                before=before,
                after=version,
                reason=reason,
                forced=forced,
                verdict=verdict,
            ):
                set_alias(self._store, version, alias)
        return before

    def standing(self, name: str, alias: str) -> Version | UnreadVersion | None:
        """The version that an alias of a registered name stands for, or None."""
        return version_behind(self._store, require_name(name), require_alias(alias))

    def rollback(
        self, name: str, alias: str, *, reason: str = ""
    ) -> tuple[Version | UnreadVersion, Version]:
        """Point an alias at the version that it stood for before; gives where from, and where to.

        Once more goes back once more. Versions that were deleted since, or don't load any more,
        are passed over, the latter with a warning in the log.

        Raises:
            AddressError: if the name or the alias is not a legal one.
            NotFoundError: if there is no such alias.
            RegistryError: if there is nothing to go back to.
        """
        require_name(name)
        require_alias(alias)
        with self._alone():
            here = self._here(name, alias)
            way = trail(list_moves(self._store, name, alias), here.version)
            back = self._last_good(name, way[:-1])
            if back is None:
                raise RegistryError(
                    f"models:/{name}@{alias} is {here.uri}, and its history knows of no version "
                    f"before it that is there and loads; `patchbay history {name}` shows it, and "
                    "`patchbay promote` moves it to any version"
                )
            with recorded_move(
                self._store, "rollback", alias, before=here, after=back, reason=reason
            ):
                set_alias(self._store, back, alias)
        return here, back

    def remove(self, version: Version, alias: str, *, reason: str = "") -> None:
        """Take an alias away from the version that it stands for."""
        with (
            self._alone(),
            recorded_move(self._store, "removal", alias, before=version, after=None, reason=reason),
        ):
            drop_alias(self._store, version.name, alias)

    def history(self, name: str, alias: str | None = None) -> list[Move]:
        """Moves of a name's aliases, the oldest first; of one alias if that is given."""
        require_name(name)
        return list_moves(self._store, name, alias and require_alias(alias))

    def _here(self, name: str, alias: str) -> Version | UnreadVersion:
        address = Address(name, alias=alias)
        try:
            return get_version(self._store, address)
        except BundleError:  # that it can't be read is a reason to leave it
            found = version_behind(self._store, name, alias)
            if found is None:
                raise
            return found

    def _last_good(self, name: str, versions: list[int]) -> Version | None:
        for number in reversed(versions):
            try:
                version = get_version(self._store, Address(name, version=number))
                self._loader.load(version)
            except NotFoundError as error:
                logger.info("passed over: %s", error)
            except BundleError as error:
                logger.warning("passed over: %s", error)
            else:
                return version
        return None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._store.home is None:
            yield
            return
        with FileLock(self._store.home / "aliases.lock", timeout=60):
            yield
