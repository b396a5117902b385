"""Versions leave one registry and enter another, with all they need and byte for byte."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modularizer.whole_files import whole_file
from registry.adding import also, register
from registry.bundles.archive import (
    Archived,
    ArchivedVersion,
    open_archive,
    require_consistent,
    write_archive,
)
from registry.bundles.bundle import Bundle
from registry.bundles.cache import BundleCache
from registry.bundles.manifest import PatchedModelManifest
from registry.bundles.restoring import restore_network, restore_patched
from registry.errors import ArchiveError, BundleError, NotFoundError
from registry.loading import Loader, loader_of_store
from registry.model_page import link
from registry.naming import parse_address
from registry.store.client import Store, wrapped_errors
from registry.store.exclusive import exclusive
from registry.store.pyfunc_export import ARCHIVE_FILE, save_pyfunc
from registry.store.runs import run_log
from registry.store.versions import get_version, list_versions, require_free_name
from registry.version import TAG_PREFIX, Version

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exchanged:
    """One version that was exported or imported.

    Attributes:
        source: its address where it comes from.
        digest: SHA-256 of its ``bundle.json``, the same on both sides.
        files: how many its bundle has, ``bundle.json`` among them.
        size_bytes: of all of them.
        uri: its address here; of an export the same as ``source``.
        is_new: whether the import made it; False if it was here already.
    """

    source: str
    digest: str
    files: int
    size_bytes: int
    uri: str
    is_new: bool = False


@dataclass(frozen=True)
class _Imported:
    """A bundle from an archive as `registry.adding.Registrable`."""

    name: str
    bundle: Bundle
    verify: Callable[[Bundle], None]
    parents: Sequence[str]

    def stage(self, folder: Path) -> Bundle:
        shutil.copytree(self.bundle.folder, folder, dirs_exist_ok=True)
        return Bundle(folder, self.bundle.manifest, self.bundle.digest)


class Exchange:
    """Takes versions out of a registry and into it.

    What leaves is read from the store itself, whatever lies in this machine's cache.

    Args:
        store: an open store.
        cache: of this machine; gives folders to work in.
    """

    def __init__(self, store: Store, cache: BundleCache) -> None:
        self._store = store
        self._cache = cache

    @wrapped_errors("the registry")
    def export_archive(
        self, uri: str, target: Path, *, with_strong: bool = False
    ) -> list[Exchanged]:
        """Write a version and all that it needs into one file, an archive.

        Args:
            uri: the version's address.
            target: the file, replaced whole if it is there.
            with_strong: also the strong models that class modules were taken from; nothing needs
                them to run.

        Raises:
            AddressError: if it is no address.
            NotFoundError: if there is no such version, or a part of it is gone.
            BundleError: if what is stored is not what was registered.
            ArchiveError: if the file can't be written.
        """
        version = get_version(self._store, parse_address(uri))
        versions = _closure(self._store, version, with_strong=with_strong)
        with loader_of_store(self._store, self._cache) as loader:
            loader.load(version)
            distinct = {one.digest: one for one in versions}
            with loader.bundles(list(distinct.values())) as bundles:
                found = dict(zip(distinct, bundles, strict=True))
                archived = [
                    Archived(
                        ArchivedVersion(uri=one.uri, digest=one.digest, parents=one.parents),
                        found[one.digest],
                    )
                    for one in versions
                ]
                try:
                    with whole_file(target) as file:
                        write_archive(file, archived)
                except OSError as error:
                    reason = error.strerror or error
                    raise ArchiveError(f"{target} can't be written: {reason}") from error
                return [_told(one, one.version.uri) for one in archived]

    @wrapped_errors("the registry")
    def export_pyfunc(
        self, uri: str, target: Path, *, loader: str, columns: dict[str, str]
    ) -> list[Exchanged]:
        """Write a folder that MLflow scores with: an archive, and the name of what loads it.

        Args:
            uri: the version's address.
            target: the folder; it must not be there yet.
            loader: the module with ``_load_pyfunc``; it is named and not stored.
            columns: of the answers, name to type in MLflow's words.

        Raises:
            AddressError, NotFoundError, BundleError: as `export_archive`.
            ArchiveError: if the folder is there already, or can't be written.
        """
        with self._cache.scratch() as scratch:
            archive = scratch / ARCHIVE_FILE
            exported = self.export_archive(uri, archive)
            save_pyfunc(archive, target, loader=loader, columns=columns)
        return exported

    @wrapped_errors("the registry")
    def import_archive(self, path: Path) -> list[Exchanged]:
        """Register what an archive holds, each version after those that it is made from.

        A version is registered under the name that it had, with the next number; one that is here
        under that name already, and loads, is not registered again. Each is stored, read back and
        loaded before it is a version, as if it was made here. An interruption leaves those that
        were complete.

        Raises:
            ArchiveError: if the file is no archive, or what it holds is not what it says.
            RegistryError: if a name belongs to models of another kind.
            BundleError: if a version does not load.
        """
        with (
            exclusive(self._store, "imports"),
            self._cache.scratch() as scratch,
            open_archive(path, scratch) as archived,
            loader_of_store(self._store, self._cache) as loader,
        ):
            require_consistent(archived)
            here = _already_here(self._store)
            for one in archived:
                name = parse_address(one.version.uri).name
                require_free_name(self._store, name, one.bundle.manifest.kind)
            done: dict[str, Version] = {}
            exchanged = []
            for one in archived:
                name = parse_address(one.version.uri).name
                found = _first_good(loader, here.get((name, one.bundle.digest), []))
                version = found or _import_one(self._store, loader, self._cache, one, done)
                done[one.version.uri] = version
                here.setdefault((name, version.digest), []).append(version)
                exchanged.append(_told(one, version.uri, is_new=found is None))
            return exchanged


def _import_one(
    store: Store,
    loader: Loader,
    cache: BundleCache,
    one: Archived,
    done: Mapping[str, Version],
) -> Version:
    manifest = one.bundle.manifest
    parents = [done.get(uri) for uri in one.version.parents]

    def verify(bundle: Bundle) -> None:
        if not isinstance(bundle.manifest, PatchedModelManifest):
            restore_network(bundle, bundle.manifest)
        else:
            _restore_patched(loader, bundle.manifest, parents, one.version.uri)

    entry = _Imported(
        parse_address(one.version.uri).name,
        one.bundle,
        verify,
        [
            told if found is None else found.uri
            for told, found in zip(one.version.parents, parents, strict=True)
        ],
    )
    origin = {f"{TAG_PREFIX}imported_from": one.version.uri}
    with run_log(store, entry.name, manifest.kind, "import", origin) as run:
        run.log_origin(manifest.origin)
        [version] = register(
            run,
            [entry],
            parents=[found for found in parents if found is not None],
            cache=cache,
        )
        also(lambda: run.describe(f"Imported {link(version.uri)}, which was {one.version.uri}."))
    return version


def _restore_patched(
    loader: Loader, manifest: PatchedModelManifest, parents: Sequence[Version | None], uri: str
) -> None:
    weak, *modules = parents
    if weak is None or None in modules:
        raise ArchiveError(f"the archive holds {uri} without all of its parts")
    restore_patched(
        manifest,
        loader.classifier(weak),
        [loader.class_module(one) for one in modules if one is not None],
    )


def _closure(store: Store, version: Version, *, with_strong: bool) -> list[Version]:
    """The version and what it needs, each after its parents, without doubles."""
    found: dict[str, Version] = {}

    def add(one: Version) -> None:
        if one.uri in found:
            return
        for uri in one.parents:
            if one.kind == "patched" or with_strong:
                try:
                    add(get_version(store, parse_address(uri)))
                except NotFoundError:
                    if one.kind == "patched":
                        raise
        found[one.uri] = one

    add(version)
    return list(found.values())


def _already_here(store: Store) -> dict[tuple[str, str], list[Version]]:
    """What is registered, by name and digest."""
    found: dict[tuple[str, str], list[Version]] = {}
    for version in list_versions(store):
        found.setdefault((version.name, version.digest), []).append(version)
    return found


def _first_good(loader: Loader, versions: Sequence[Version]) -> Version | None:
    for version in versions:
        try:
            loader.load(version)
        except (BundleError, NotFoundError) as error:
            logger.warning("registered once more: %s", error)
        else:
            return version
    return None


def _told(one: Archived, uri: str, *, is_new: bool = False) -> Exchanged:
    files = one.bundle.manifest.files
    manifest_bytes = (one.bundle.folder / "bundle.json").stat().st_size
    return Exchanged(
        source=one.version.uri,
        digest=one.bundle.digest,
        files=1 + len(files),
        size_bytes=manifest_bytes + sum(stored.size_bytes for stored in files.values()),
        uri=uri,
        is_new=is_new,
    )
