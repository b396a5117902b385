"""Deleting a version, unless somebody uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from registry.errors import InUseError
from registry.naming import Address
from registry.steps import Step
from registry.store.client import Store
from registry.store.exclusive import exclusive
from registry.store.models import delete_model
from registry.store.moves import recorded_move
from registry.store.versions import (
    delete_version,
    drop_alias,
    get_version,
    has_versions,
    keep_name,
    list_bereft,
    list_copies,
    list_made_from,
)
from registry.version import UnreadVersion, Version

_MOST_NAMED = 20


def delete(store: Store, address: Address, *, drop_aliases: bool, reason: str) -> Version:
    """Delete a version, then its LoggedModel and files; what made it stays on record as a run.

    LoggedModel and files stay, too, where another version was made from the same one, by a
    request that a network doubled or by other hands.

    Args:
        store: an open store.
        address: of the version.
        drop_aliases: take its aliases away first, on record.
        reason: in the words of who does it.

    Returns:
        What it was.

    Raises:
        NotFoundError: if there is no such version.
        InUseError: if a manifest or an alias names it, or MLflow made a copy of it.
    """
    with exclusive(store):
        version = get_version(store, address)
        users, unread = list_made_from(store, version)
        users += list_bereft(store, version)
        _require_unused(version, [*users, *unread, *list_copies(store, version)])
        if drop_aliases:
            for alias in version.aliases:
                move = recorded_move(
                    store, "removal", alias, before=version, after=None, reason=reason
                )
                with move:
                    drop_alias(store, version.name, alias)
            version = replace(version, aliases=())
        _require_unnamed(version)
        keep_name(store, version.name)
        delete_version(store, version)
        store.on_step(Step.VERSION_DELETED)
        if not has_versions(store, version.model_id):
            delete_model(store, version.model_id)
    return version


def _require_unused(version: Version, users: Sequence[Version | UnreadVersion]) -> None:
    if not users:
        return
    shown = ", ".join(user.uri for user in users[:_MOST_NAMED])
    more = f" and {len(users) - _MOST_NAMED} more" if len(users) > _MOST_NAMED else ""
    raise InUseError(
        f"{version.uri} is part of {shown}{more}; delete these first if they are not needed"
    )


def _require_unnamed(version: Version) -> None:
    if not version.aliases:
        return
    named = ", ".join(f"models:/{version.name}@{alias}" for alias in version.aliases)
    raise InUseError(
        f"{version.uri} is in use as {named}; move the alias first (patchbay promote, patchbay "
        "rollback), or give --drop-aliases with a reason"
    )
