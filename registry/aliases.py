"""Aliases move on record, and never to a version that can't be used."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from registry.errors import BundleError, MovedError, NotFoundError, RegistryError
from registry.history import Move, Stand, trail
from registry.loading import Loader
from registry.naming import Address, parse_address, require_alias, require_name
from registry.store.client import Store, wrapped_errors
from registry.store.exclusive import exclusive
from registry.store.moves import list_moves, recorded_move
from registry.store.versions import get_version, require_there, set_alias, version_behind
from registry.version import UnreadVersion, Version

logger = logging.getLogger(__name__)


class Aliases:
    """The aliases of a store; each move is an MLflow run, which `history` reads.

    On the embedded store one process moves them at a time. MLflow itself can't compare and set:
    where two users of a server move one alias at once the later move stands, and both are on
    record.

    Args:
        store: an open store.
        loader: of the same store.

    Example:
        >>> registry = Registry.open("/srv/models")                         # doctest: +SKIP
        >>> registry.aliases.promote("models:/digits/2", "champion")        # doctest: +SKIP
        >>> registry.aliases.rollback("digits", "champion")                 # doctest: +SKIP
    """

    def __init__(self, store: Store, loader: Loader) -> None:
        self._store = store
        self._loader = loader

    @wrapped_errors("the registry")
    def promote(
        self,
        version: Version | str,
        alias: str,
        *,
        expected: Version | UnreadVersion | Literal["any"] | None = "any",
        reason: str = "",
        forced: bool = False,
        verdict: Mapping[str, Any] | None = None,
    ) -> Version | UnreadVersion | None:
        """Point an alias at a version; gives the version that it pointed at before, or None.

        The version is loaded first, with all its parts, and the store has to have their files
        still: an alias never comes to stand for one that can't be used, here or on another
        machine. Nothing is recorded where nothing moves.

        Args:
            version: which, or its address; it has to be there still, as the model that it was.
            alias: to move, or to make.
            expected: what the alias has to stand for still, as that is what the new version was
                compared with: what `standing` gave then.
            reason: in the words of who does it.
            forced: whether a gate's refusal is overruled.
            verdict: the gate's, as JSON values.

        Raises:
            AddressError: if the address or the alias is not a legal one.
            NotFoundError: if there is no such version.
            BundleError: if it, or a part of it, is not what was registered.
            MovedError: if the alias stands for another version than the expected one.
        """
        require_alias(alias)
        if isinstance(version, str):
            version = get_version(self._store, parse_address(version))
        loaded = self._loader.load(version)
        with exclusive(self._store):
            _require_same(get_version(self._store, _pinned(version)), version)
            self._loader.require_stored(version, *loaded.parts)
            before = version_behind(self._store, version.name, alias)
            if before is not None and before.version == version.version:
                return before
            if expected != "any" and not _is_same(expected, before):
                raise MovedError(
                    f"models:/{version.name}@{alias} was moved to "
                    f"{before.uri if before else 'no version'} while {version.uri} was compared "
                    "with what it stood for; promote it again, which compares it anew"
                )
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

    @wrapped_errors("the registry")
    def standing(self, name: str, alias: str) -> Version | UnreadVersion | None:
        """The version that an alias of a registered name stands for, or None if it is gone.

        Raises:
            AddressError: if the name or the alias is not a legal one.
            NotFoundError: if there is no such name.
        """
        return version_behind(self._store, require_name(name), require_alias(alias))

    @wrapped_errors("the registry")
    def rollback(
        self, name: str, alias: str, *, reason: str = ""
    ) -> tuple[Version | UnreadVersion, Version]:
        """Point an alias at the version that it stood for before; gives where from, and where to.

        Once more goes back once more. Versions that were deleted since, or don't load any more,
        or whose files the store has lost, are passed over, all but the first with a warning in the
        log.

        Raises:
            AddressError: if the name or the alias is not a legal one.
            NotFoundError: if there is no such alias.
            RegistryError: if there is nothing to go back to.
            MovedError: if others moved the alias meanwhile.
        """
        require_name(name)
        require_alias(alias)
        here = self._here(name, alias)
        way = trail(list_moves(self._store, name, alias), Stand.of(here))
        back = self._last_good(name, way[:-1])
        if back is None:
            raise RegistryError(
                f"models:/{name}@{alias} is {here.uri}, and its history knows of no version "
                f"before it that is there and loads; `patchbay history {name}` shows it, and "
                "`patchbay promote` moves it to any version"
            )
        with exclusive(self._store):
            if not _is_same(self._here(name, alias), here):
                raise MovedError(
                    f"models:/{name}@{alias} was moved while this looked for the way back; see "
                    f"`patchbay history {name}`"
                )
            _require_same(get_version(self._store, _pinned(back)), back)
            with recorded_move(
                self._store, "rollback", alias, before=here, after=back, reason=reason
            ):
                set_alias(self._store, back, alias)
        return here, back

    @wrapped_errors("the registry")
    def history(self, name: str, alias: str | None = None) -> list[Move]:
        """Who moved a name's aliases, or one of them, when, why and by which evidence; in order.

        Raises:
            AddressError: if the name or the alias is not a legal one.
            NotFoundError: if there is no such name, and never was one whose alias moved.
        """
        require_name(name)
        moves = list_moves(self._store, name, None if alias is None else require_alias(alias))
        if not moves:
            require_there(self._store, name)
        return moves

    def _here(self, name: str, alias: str) -> Version | UnreadVersion:
        address = Address(name, alias=alias)
        try:
            return get_version(self._store, address)
        except BundleError:  # that it can't be read is a reason to leave it
            found = version_behind(self._store, name, alias)
            if found is None:
                raise
            return found

    def _last_good(self, name: str, way: Sequence[Stand]) -> Version | None:
        for stand in reversed(way):
            try:
                version = get_version(self._store, Address(name, version=stand.version))
                if not stand.is_same(Stand.of(version)):
                    logger.info("passed over: %s is another model than it was", version.uri)
                    continue
                loaded = self._loader.load(version)
                self._loader.require_stored(version, *loaded.parts)
            except NotFoundError as error:
                logger.info("passed over: %s", error)
            except BundleError as error:
                logger.warning("passed over: %s", error)
            else:
                return version
        return None


def _pinned(version: Version) -> Address:
    return Address(version.name, version=version.version)


def _require_same(found: Version, version: Version) -> None:
    if found.model_id != version.model_id:
        raise NotFoundError(f"{version.uri} was deleted, and another model has its address now")


def _is_same(one: Version | UnreadVersion | None, other: Version | UnreadVersion | None) -> bool:
    if one is None or other is None:
        return one is other
    return Stand.of(one).is_same(Stand.of(other))
