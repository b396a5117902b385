"""MLflow's model registry: list, find, register, alias and delete versions."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from os.path import commonprefix
from typing import Any, TypeVar

from registry.bundles.manifest import Kind
from registry.errors import AddressError, BundleError, NotFoundError, RegistryError
from registry.naming import Address, parse_address
from registry.owner import this_process
from registry.steps import Step
from registry.store.client import Store, as_global_address, error_code, pages
from registry.store.patience import create_once
from registry.version import (
    OWNER_TAG,
    TAG_PREFIX,
    UnreadVersion,
    Version,
    is_ours,
    version_from_tags,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MAX_DESCRIPTION_LENGTH = 5000  # MLflow's own limit
_COPIED = re.compile(r"models:/(?P<name>[^/@]+)/(?P<version>[1-9]\d{0,8})")
_PLAIN = re.compile(r"[A-Za-z0-9._~-]+")  # what no filter takes for an order but ``_``, any letter
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def list_versions(store: Store, kind: Kind | None = None) -> list[Version]:
    """Every version that patchbay registered, by name and version; others are left out.

    One whose tags were changed beyond reading is left out too, with a warning in the log.

    Args:
        store: to list.
        kind: of the versions to list; None for all.
    """
    found, unreadable = _listed(
        store, "" if kind is None else f"tags.`{TAG_PREFIX}kind` = '{kind}'"
    )
    for one in unreadable:
        logger.warning("not listed: %s", one.reason)
    return found


def list_all_versions(store: Store) -> tuple[list[Version], list[UnreadVersion]]:
    """Versions that patchbay registered, by name and version; and those that can't be read."""
    return _listed(store, "")


def list_made_from(store: Store, version: Version) -> tuple[list[Version], list[UnreadVersion]]:
    """The versions that name this one as a parent; and those that do so and can't be read.

    The store looks for them, so that it takes no longer where there are many others.
    """
    named = f'"{version.uri}"'
    found, unreadable = _listed(store, f"tags.`{TAG_PREFIX}parents` LIKE '%{named}%'", named)
    # A parent of another registry may have the same address.
    return [one for one in found if one.is_made_from(version)], unreadable


def _listed(
    store: Store, wanted: str, parent: str = ""
) -> tuple[list[Version], list[UnreadVersion]]:
    """Patchbay's versions that one of MLflow's filters lets through; and the unreadable ones.

    Args:
        store: to list.
        wanted: the filter; its LIKE takes ``_`` for any letter.
        parent: what the tag with the parents has to hold.
    """
    found, unreadable = [], []
    entries = [
        entry
        for entry in pages(store.client.search_model_versions, filter_string=wanted)
        if is_ours(entry.tags) and parent in entry.tags.get(f"{TAG_PREFIX}parents", "")
    ]
    aliases = _aliases(store, [entry.name for entry in entries]) if entries else {}
    for entry in entries:
        try:
            found.append(_version(store, entry, aliases.get((entry.name, int(entry.version)), ())))
        except BundleError as error:
            unreadable.append(UnreadVersion(entry.name, int(entry.version), str(error)))
    return sorted(found, key=lambda version: (version.name, version.version)), unreadable


def get_version(store: Store, address: Address) -> Version:
    """The version at an address.

    Raises:
        NotFoundError: if there is none; the message lists what there is under that name.
        BundleError: if it was not registered by patchbay.
    """
    from mlflow.exceptions import MlflowException

    client = store.client
    try:
        if address.alias is not None:
            entry = client.get_model_version_by_alias(address.name, address.alias)
        else:
            entry = client.get_model_version(address.name, str(address.version))
    except MlflowException as error:
        if error_code(error) not in _MISSING:
            raise
        raise NotFoundError(_what_there_is(store, address)) from error
    return _version(store, entry, tuple(entry.aliases))


def create_version(
    store: Store,
    name: str,
    *,
    model_id: str,
    run_id: str,
    tags: Mapping[str, str],
    description: str = "",
    name_description: str = "",
) -> Version:
    """Register a LoggedModel that is ready as the next version of a name.

    It becomes one version, also if a request is sent again because its answer was lost.

    Args:
        store: an open store.
        name: to register it under.
        model_id: the LoggedModel.
        run_id: of the run that made it.
        tags: see `registry.version.version_tags`.
        description: of the version, as Markdown.
        name_description: of the name, if it is new.

    Raises:
        RegistryError: if the name belongs to models of another kind.
    """
    was_without_versions = _create_name(store, name, tags[f"{TAG_PREFIX}kind"], name_description)
    store.on_step(Step.NAMED)
    source = f"models:/{model_id}"

    def create() -> Any:
        with as_global_address(store):
            return store.client.create_model_version(
                name,
                source=source,
                run_id=run_id,
                tags=dict(tags),
                description=description[:_MAX_DESCRIPTION_LENGTH] or None,
                model_id=model_id,  # a server refuses a LoggedModel as source without its id
            )

    entry = create_once(create, lambda: _made_of(store, name, source), "create_model_version")
    if store.is_remote:  # where a request may arrive twice, whoever sent it again
        entry = _settle(store, _made_of(store, name, source)) or entry
    if was_without_versions:
        try:
            keep_name(store, name)
        except Exception:  # the version is there; deleting it asks for this once more
            logger.debug("%s is not marked as a name that stays", name, exc_info=True)
    return _version(store, entry, ())


def link_model(store: Store, version: Version) -> None:
    """Let the LoggedModel's page name the version; a server does that by itself."""
    if not store.is_remote:
        value = json.dumps([{"name": version.name, "version": str(version.version)}])
        store.client.set_logged_model_tags(version.model_id, {"mlflow.modelVersions": value})


def require_free_name(store: Store, name: str, kind: str) -> None:
    """Refuse a name under which models of another kind are registered.

    Raises:
        RegistryError: if there are such.
    """
    entry = _if_there(lambda: store.client.get_registered_model(name))
    if entry is None:
        return
    held = entry.tags.get(f"{TAG_PREFIX}kind")
    if held != kind:
        raise RegistryError(
            f"the name {name!r} belongs to models of kind {held or 'unknown'}, this one is "
            f"{kind}; choose another name"
        )


def require_there(store: Store, name: str) -> Any:
    """Refuse a name that is not registered; gives MLflow's entry of one that is.

    Raises:
        NotFoundError: if it is not; the message lists what is.
    """
    entry = _if_there(lambda: store.client.get_registered_model(name))
    if entry is None:
        raise NotFoundError(_what_there_is(store, Address(name, version=1)))
    return entry


def version_behind(store: Store, name: str, alias: str) -> Version | UnreadVersion | None:
    """The version that an alias of a registered name points at, or None if there is none.

    One that can't be read is no error: it is just then that an alias has to be moved.

    Raises:
        NotFoundError: if the name is not registered.
    """
    number = require_there(store, name).aliases.get(alias)
    if number is None:
        return None
    try:
        return get_version(store, Address(name, version=int(number)))
    except NotFoundError:  # the version was deleted under its alias, which may be mended so
        return None
    except BundleError as error:
        return UnreadVersion(name, int(number), str(error))


def set_alias(store: Store, version: Version, alias: str) -> None:
    """Point an alias at a version; it leaves the version it pointed at before."""
    store.client.set_registered_model_alias(version.name, alias, str(version.version))


def list_bereft(store: Store, version: Version) -> list[Version]:
    """Versions made from these bytes at an address where nothing is any more: it was renamed.

    Only those made after it: what an archive brought before may have been made from its equal.
    """
    found, _ = _listed(store, f"tags.`{TAG_PREFIX}parent_digests` LIKE '%{version.digest}%'")
    return [
        one
        for one in found
        if one.created >= version.created
        and any(
            digest == version.digest and uri != version.uri and not _is_there(store, uri)
            for uri, digest in zip(one.parents, one.parent_digests, strict=False)
        )
    ]


def list_copies(store: Store, version: Version) -> list[UnreadVersion]:
    """Versions that MLflow's own means (``copy_model_version``) made of this one."""
    mine = f"source_path = '{version.uri}'"
    return [
        UnreadVersion(entry.name, int(entry.version), f"a copy of {version.uri}")
        for entry in pages(store.client.search_model_versions, filter_string=mine)
    ]


def _is_there(store: Store, uri: str) -> bool:
    try:
        address = parse_address(uri)
    except AddressError:
        return False
    version = str(address.version)
    return _if_there(lambda: store.client.get_model_version(address.name, version)) is not None


def _if_there(get: Callable[[], T]) -> T | None:
    """What MLflow gives; None where it says that there is no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return get()
    except MlflowException as error:
        if error_code(error) not in _MISSING:
            raise
        return None


def keep_name(store: Store, name: str) -> None:
    """Let a name stay, even if its versions go: none of its numbers is given again."""
    if OWNER_TAG in store.client.get_registered_model(name).tags:
        store.client.delete_registered_model_tag(name, OWNER_TAG)


def has_versions(store: Store, model_id: str) -> bool:
    """Whether any version, of whatever name, was made from a LoggedModel."""
    mine = f"source_path = 'models:/{model_id}'"
    return bool(store.client.search_model_versions(filter_string=mine, max_results=1))


def delete_version(store: Store, version: Version) -> None:
    """Delete a version with its aliases; its number is given again only if the name is, too."""
    store.client.delete_model_version(version.name, str(version.version))


def drop_alias(store: Store, name: str, alias: str) -> None:
    """Remove an alias; the version that it stood for stays."""
    store.client.delete_registered_model_alias(name, alias)


def _version(store: Store, entry: Any, aliases: tuple[str, ...]) -> Version:
    return version_from_tags(
        entry.tags,
        name=entry.name,
        version=int(entry.version),
        aliases=aliases,
        created_ms=int(entry.creation_timestamp or 0),
        source=_source(store, entry),
        run_id=entry.run_id,
    )


def _source(store: Store, entry: Any) -> str:
    """Where a version's files are: of a copy that MLflow made, where the original's are.

    Raises:
        BundleError: if the original is gone, or is another model than it was.
    """
    source = str(entry.source)
    original = _COPIED.fullmatch(source)
    if original is None or not is_ours(entry.tags):
        return source
    here = f"models:/{entry.name}/{entry.version}"
    name, version = original["name"], original["version"]
    found = _if_there(lambda: store.client.get_model_version(name, version))
    if found is None:
        raise BundleError(f"{here} is a copy of {source}, which is gone")
    if found.tags.get(f"{TAG_PREFIX}digest") != entry.tags.get(f"{TAG_PREFIX}digest"):
        raise BundleError(f"{here} is a copy of {source}, which is another model now")
    return str(found.source)


def _aliases(store: Store, names: Sequence[str]) -> dict[tuple[str, int], tuple[str, ...]]:
    """The aliases of these names' versions, by name and number; of others there may be some too."""
    # A search for versions answers without their aliases; a search for names answers with them.
    # Class modules of one strong model begin alike: then it needs not read all names.
    alike = _PLAIN.match(commonprefix(names))  # noqa: RUF071 - letters are meant
    start = alike[0] if alike else ""
    wanted = f"name LIKE '{start}%'" if start else ""
    aliases: dict[tuple[str, int], tuple[str, ...]] = {}
    for model in pages(store.client.search_registered_models, filter_string=wanted):
        for alias, number in model.aliases.items():
            key = (model.name, int(number))
            aliases[key] = (*aliases.get(key, ()), alias)
    return aliases


def _made_of(store: Store, name: str, source: str) -> list[Any]:
    """The versions of a name with this source, the oldest first."""
    mine = f"name = '{name}' and source_path = '{source}'"
    found = pages(store.client.search_model_versions, filter_string=mine)
    return sorted(found, key=lambda entry: int(entry.version))


def _settle(store: Store, versions: Sequence[Any]) -> Any | None:
    """The oldest of the versions made from one LoggedModel; the others are deleted."""
    from mlflow.exceptions import MlflowException

    for double in versions[1:]:
        logger.warning("models:/%s/%s was made twice", double.name, double.version)
        try:
            store.client.delete_model_version(double.name, str(double.version))
        except MlflowException as error:
            if error_code(error) not in _MISSING:  # deleted, and the answer was lost
                raise
    return versions[0] if versions else None


def _create_name(store: Store, name: str, kind: str, description: str) -> bool:
    """Make sure of a name; gives whether it may have no version yet, and is held until it has.

    Held, by a tag with this process: what is taken over from one that has ended is not cleared.
    """
    from mlflow.exceptions import MlflowException

    try:
        tags = {f"{TAG_PREFIX}kind": kind, OWNER_TAG: this_process()}
        store.client.create_registered_model(
            name, tags=tags, description=description[:_MAX_DESCRIPTION_LENGTH] or None
        )
    except MlflowException as error:
        if error_code(error) != "RESOURCE_ALREADY_EXISTS":
            raise
        require_free_name(store, name, kind)
        if OWNER_TAG not in store.client.get_registered_model(name).tags:
            return False
        store.client.set_registered_model_tag(name, OWNER_TAG, this_process())
    return True


def _what_there_is(store: Store, address: Address) -> str:
    versions = list_versions(store)
    of_name = [version for version in versions if version.name == address.name]
    if of_name:
        numbers = ", ".join(str(version.version) for version in of_name[-20:])
        aliases = sorted(alias for version in of_name for alias in version.aliases)
        return (
            f"there is no {address}; {address.name} has version {numbers} and "
            f"{'alias ' + ', '.join(aliases) if aliases else 'no alias'}"
        )
    names = sorted({version.name for version in versions})
    close = get_close_matches(address.name, names, n=20, cutoff=0)
    known = ", ".join(close) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"there is no model {address.name!r}; the registry holds {known or 'nothing yet'}"
