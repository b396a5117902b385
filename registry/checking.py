"""Whether every version still loads from the store, and what was left over by what never ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from registry.bundles.cache import BundleCache
from registry.errors import RegistryError, StoreError
from registry.loading import Loader, loader_of_store
from registry.scratch import abandoned
from registry.store.client import Store
from registry.store.leftovers import Leftover, clear_leftover, find_leftovers
from registry.store.versions import list_all_versions
from registry.version import Version

_AT_ONCE_BYTES = 2**30

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Broken:
    """A version that can't be used, and why."""

    uri: str
    reason: str


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        versions: how many there are, the broken ones among them.
        broken: those that don't load.
        leftovers: what was left behind.
        cleared: those of them that are gone now; one that came to be used meanwhile is not.
    """

    versions: int
    broken: tuple[Broken, ...]
    leftovers: tuple[Leftover, ...]
    cleared: tuple[Leftover, ...]


def check(
    store: Store,
    cache: BundleCache,
    *,
    clear: bool,
    load: bool = True,
    progress: Progress = lambda done, total: None,
) -> CheckReport:
    """Load every version from the store itself, and find what nobody is at work on any more.

    Args:
        store: an open store.
        cache: of this machine; nothing is read from it, and what is left over there is found.
        clear: whether what is left over is removed. Versions are never removed.
        load: whether versions are loaded; if not, only those that can't be listed count as broken.
        progress: told how many of how many versions were loaded.
    """
    leftovers = [*find_leftovers(store), *_folders(cache)]
    cleared = [one for one in leftovers if clear and clear_leftover(store, one)]
    versions, unreadable = list_all_versions(store)
    broken = [Broken(one.uri, one.reason) for one in unreadable]
    broken += _doubles(versions)
    with loader_of_store(store, cache, _AT_ONCE_BYTES) as loader:
        for done, version in enumerate(versions if load else (), start=1):
            if (reason := _complaint(loader, version)) is not None:
                broken.append(Broken(version.uri, reason))
            progress(done, len(versions))
    return CheckReport(
        versions=len(versions) + len(unreadable),
        broken=tuple(broken),
        leftovers=tuple(leftovers),
        cleared=tuple(cleared),
    )


def _doubles(versions: Sequence[Version]) -> list[Broken]:
    """Versions that were made from the LoggedModel of another one, which is the same model."""
    first: dict[tuple[str, str], Version] = {}  # under another name it is a copy that was meant
    found = []
    for version in versions:
        other = first.setdefault((version.name, version.model_id), version)
        if other is not version:
            found.append(
                Broken(
                    version.uri,
                    f"it was made from the LoggedModel of {other.uri} and is the same model; "
                    f"`patchbay delete {version.uri}` leaves one of them",
                )
            )
    return found


def _complaint(loader: Loader, version: Version) -> str | None:
    try:
        loader.load(version)
    except StoreError:  # it says nothing of this version
        raise
    except RegistryError as error:
        return str(error)
    return None


def _folders(cache: BundleCache) -> list[Leftover]:
    return [
        Leftover("folder", str(path), "the process that worked in it has ended")
        for path in abandoned(cache.scratch_root)
    ]
