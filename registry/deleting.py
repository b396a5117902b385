"""Deleting a version, unless somebody uses it."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors import InUseError
from registry.store.client import Store
from registry.store.leftovers import delete_model
from registry.store.versions import delete_version, has_versions
from registry.version import Version


def require_unused(version: Version, users: Sequence[Version]) -> None:
    """Refuse to delete a version that an alias or a manifest names.

    Args:
        version: as the store gives it now, with its aliases.
        users: the versions made from it.

    Raises:
        InUseError: if there are such; it names them.
    """
    if users:
        shown = ", ".join(user.uri for user in users[:20])
        more = f" and {len(users) - 20} more" if len(users) > 20 else ""
        raise InUseError(
            f"{version.uri} is part of {shown}{more}; delete these first if they are not needed"
        )
    if version.aliases:
        named = ", ".join(f"models:/{version.name}@{alias}" for alias in version.aliases)
        raise InUseError(
            f"{version.uri} is in use as {named}; move the alias first (patchbay promote, patchbay "
            "rollback), or give --drop-aliases with a reason"
        )


def delete(store: Store, version: Version) -> None:
    """Delete a version, then its LoggedModel and files; what made it stays on record as a run.

    These stay, too, where another version was made from the same LoggedModel, by a request that
    a network doubled or by other hands.
    """
    delete_version(store, version)
    if not has_versions(store, version.model_id):
        delete_model(store, version.model_id)
