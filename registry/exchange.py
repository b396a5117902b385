"""Versions leave one registry and enter another, with all they need and byte for byte."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modularizer.whole_files import whole_file
from registry.adding import also, register
from registry.bundles.archive import Archived, ArchivedVersion, open_archive, write_archive
from registry.bundles.bundle import Bundle
from registry.bundles.cache import BundleCache
from registry.bundles.manifest import PatchedModelManifest
from registry.bundles.restoring import restore_network, restore_patched
from registry.errors import ArchiveError, NotFoundError
from registry.loading import Loader
from registry.model_page import link
from registry.naming import parse_address
from registry.store.client import Store
from registry.store.runs import run_log
from registry.store.versions import get_version, list_versions, require_free_name
from registry.version import TAG_PREFIX, Version


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


def export_version(
    store: Store, loader: Loader, version: Version, target: Path, *, with_strong: bool = False
) -> list[Exchanged]:
    """Write a version and all that it needs into one file.

    Args:
        store: an open store.
        loader: of the same store.
        version: what to export.
        target: the file, replaced whole if it is there.
        with_strong: also the strong models that class modules were taken from; nothing needs
            them to run.

    Raises:
        BundleError: if what is stored is not what was registered.
        NotFoundError: if a part of it is gone.
        ArchiveError: if the file can't be written.
    """
    loader.load(version)  # a bad copy in the cache is replaced, and what is broken stays here
    versions = _closure(store, version, with_strong=with_strong)
    archived: list[Archived] = []
    with loader.bundles(versions) as bundles:
        for one, bundle in zip(versions, bundles, strict=True):
            told = ArchivedVersion(uri=one.uri, digest=one.digest, parents=one.parents)
            archived.append(Archived(told, bundle))
        try:
            with whole_file(target) as file:
                write_archive(file, archived)
        except OSError as error:
            raise ArchiveError(f"{target} can't be written: {error.strerror or error}") from error
        return [_told(one, one.version.uri) for one in archived]


def import_archive(store: Store, loader: Loader, cache: BundleCache, path: Path) -> list[Exchanged]:
    """Register what an archive holds, each version after those that it is made from.

    A version is registered under the name that it had, with the next number; one that is here
    under that name already is not registered again. Each is stored, read back and loaded before it
    is a version, as if it was made here. An interruption leaves those that were complete.

    Raises:
        ArchiveError: if the file is no archive, or what it holds is not what it says.
        RegistryError: if a name belongs to models of another kind.
        BundleError: if a version does not load.
    """
    with cache.scratch() as scratch, open_archive(path, scratch) as archived:
        here = _already_here(store)
        for one in archived:
            require_free_name(store, parse_address(one.version.uri).name, one.bundle.manifest.kind)
        done: dict[str, Version] = {}
        exchanged = []
        for one in archived:
            name = parse_address(one.version.uri).name
            found = here.get((name, one.bundle.digest))
            version = found or _import_one(store, loader, cache, one, done)
            done[one.version.uri] = here[name, version.digest] = version
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
    if len(one.version.parents) != len(manifest.parents):
        raise ArchiveError(f"{one.version.uri} and its bundle name other parents")
    parents = [done.get(uri) for uri in one.version.parents]
    for found, parent in zip(parents, manifest.parents, strict=True):
        if found is not None and found.digest != parent.digest:
            raise ArchiveError(
                f"{one.version.uri} was made from another {parent.uri} than the archive holds"
            )

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
            parents=[found.model_id for found in parents if found is not None],
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


def _already_here(store: Store) -> dict[tuple[str, str], Version]:
    return {(version.name, version.digest): version for version in list_versions(store)}


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
