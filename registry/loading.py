"""From a version to a model: fetched, checked, restored; a patched one with all its parts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from modularizer.assembly.class_module import ClassModule
from modularizer.classifier import Classifier
from registry.bundles.bundle import Bundle
from registry.bundles.cache import BundleCache
from registry.bundles.manifest import (
    WEIGHTS_FILE,
    AnyManifest,
    Parent,
    PatchedModelManifest,
)
from registry.bundles.restoring import LoadedClassModule, Model, restore_network, restore_patched
from registry.errors import BundleError
from registry.naming import parse_address
from registry.store.client import Store
from registry.store.fetching import fetch_bundle, fetch_files
from registry.store.versions import get_version
from registry.version import Version, patched_classes

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Loaded:
    """A model from the registry and which version it is.

    Attributes:
        version: what the address stood for when it was loaded.
        model: on the CPU, in evaluation mode.
        manifest: everything else that is stored with it.
        parts: for a patched model the weak version and each patch's, in patch order.
    """

    version: Version
    model: Model
    manifest: AnyManifest
    parts: tuple[Version, ...] = ()


class PartSource(Protocol):
    """Where networks are kept in memory, so that patched models share their parts."""

    def take(
        self, digest: str, name: str, size_bytes: Callable[[], int], load: Callable[[], T]
    ) -> T:
        """The part with this digest, loaded only if it is not there.

        Args:
            digest: of its bundle.
            name: for people, such as its address.
            size_bytes: of its tensors; asked before they are loaded.
            load: makes it, on the CPU, in evaluation mode.
        """
        ...


class Loader:
    """Loads versions from a store; what it hands out was checked byte by byte.

    Args:
        store: an open store.
        cache: where copies are kept.
        exact: whether a version's files are its own, not those of another one with its digest.
    """

    def __init__(self, store: Store, cache: BundleCache, *, exact: bool = False) -> None:
        self._store = store
        self._cache = cache
        self._exact = exact
        self._fetched_from: dict[str, str] = {}  # digest to LoggedModel

    def load(self, version: Version, parts: PartSource | None = None) -> Loaded:
        """Load one version, and its parts if it is patched.

        Args:
            version: which.
            parts: where the parts of a patched model may be in memory already.

        Raises:
            BundleError: if what is stored is not what was registered.
            NotFoundError: if a part of a patched model is gone.
        """
        return self._with_good_copy(version, lambda one: self._load(one, parts))

    def read(self, version: Version, name: str) -> bytes | None:
        """One file of a version's bundle without the others; None if it has no such file.

        Raises:
            BundleError: if it is not what was registered.
        """
        return self._with_good_copy(version, lambda one: self._read(one, name))

    def _read(self, version: Version, name: str) -> bytes | None:
        with self.bundle(version, files=[name]) as bundle:
            return bundle.read(name) if name in bundle.manifest.files else None

    def _with_good_copy(self, version: Version, use: Callable[[Version], T]) -> T:
        """Use a version; once more, from the store, if its copy in the cache turns out as bad."""
        is_copy = self._cache.has(version.digest)
        try:
            return use(version)
        except (BundleError, FileNotFoundError) as error:
            # What was there when it was opened was removed since by another process, to make room.
            is_evicted = isinstance(error, FileNotFoundError)
            if not (is_copy or is_evicted):
                raise
            logger.warning("%s is fetched again: %s", version.uri, error)
            self._cache.remove(version.digest)
        return use(version)

    def _load(self, version: Version, parts: PartSource | None) -> Loaded:
        with self.bundle(version) as bundle:
            manifest = bundle.manifest
            if not isinstance(manifest, PatchedModelManifest):
                return Loaded(version, restore_network(bundle, manifest), manifest)
        weak, *class_modules = (
            self._pinned(uri, parent)
            for uri, parent in zip(version.parents, manifest.parents, strict=True)
        )
        patched = restore_patched(
            manifest,
            self._taken(parts, weak, self.classifier),
            [self._taken(parts, one, self.class_module) for one in class_modules],
        )
        return Loaded(version, patched, manifest, (weak, *class_modules))

    def load_part(self, version: Version, parts: PartSource) -> Classifier | ClassModule:
        """A weak model or a class module, kept where parts are; raises as `load`."""

        def take(one: Version) -> Classifier | ClassModule:
            if one.kind == "class_module":
                return self._taken(parts, one, self.class_module)
            return self._taken(parts, one, self.classifier)

        return self._with_good_copy(version, take)

    def _taken(self, parts: PartSource | None, version: Version, load: Callable[[Version], T]) -> T:
        if parts is None:
            return load(version)

        def size_bytes() -> int:
            with self.bundle(version) as bundle:  # whole: its weights are read next
                return bundle.manifest.files[WEIGHTS_FILE].size_bytes

        return parts.take(version.digest, version.uri, size_bytes, lambda: load(version))

    def classifier(self, version: Version) -> Classifier:
        """A strong or weak model; raises as `load`, or if it is another kind."""
        model = self._part(version).model
        if not isinstance(model, Classifier):
            raise BundleError(f"expected a classifier at {version.uri}, found {noun(model)}")
        return model

    def class_module(self, version: Version) -> ClassModule:
        """A class module; raises as `load`, or if it is another kind."""
        model = self._part(version).model
        if not isinstance(model, LoadedClassModule):
            raise BundleError(f"expected a class module at {version.uri}, found {noun(model)}")
        return model.class_module

    def _part(self, version: Version) -> Loaded:
        if version.kind == "patched":
            raise BundleError(f"{version.uri} is a patched model; those can't be parts of another")
        return self.load(version)

    def _pinned(self, uri: str, parent: Parent) -> Version:
        version = get_version(self._store, parse_address(uri))
        if version.digest != parent.digest:
            raise BundleError(
                f"{uri} is not what it was when the patched model was registered: expected "
                f"SHA-256 {parent.digest[:12]}..., found {version.digest[:12]}...; "
                "register the patched model again"
            )
        return version

    @contextmanager
    def bundle(self, version: Version, *, files: Collection[str] | None = None) -> Iterator[Bundle]:
        """A version's bundle, from the cache or fetched into it.

        Args:
            version: which.
            files: those that will be read, besides ``bundle.json``; None for all. Others need not
                be there, and what is fetched without them is not kept.

        Raises:
            BundleError: if what is stored is not what was registered.
        """
        try:
            with ExitStack() as stack:
                if self._exact and self._is_anothers(version):
                    self._cache.remove(version.digest)
                found = self._cache.find(version.digest)
                if found is None:
                    scratch = stack.enter_context(self._cache.scratch())
                    found = self._fetched(version, scratch, files)
                _require_same_story(version, found.manifest)
                yield found
        except BundleError as error:
            raise BundleError(f"{version.uri} is refused: {error}") from error

    def require_stored(self, *versions: Version) -> None:
        """Refuse versions whose files the store has lost, whatever copies are in the cache.

        Their ``bundle.json`` is read and the listing compared; no other file is copied.

        Raises:
            BundleError: if one is not stored as it was registered.
        """
        for version in versions:
            try:
                with self._cache.scratch() as scratch:
                    fetch_files(self._store, version.model_id, version.digest, scratch, ())
            except BundleError as error:
                raise BundleError(f"{version.uri} is refused: {error}") from error

    def _is_anothers(self, version: Version) -> bool:
        return self._fetched_from.get(version.digest, version.model_id) != version.model_id

    @contextmanager
    def bundles(self, versions: Sequence[Version]) -> Iterator[list[Bundle]]:
        """The bundles of several versions at once; see `bundle`."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.bundle(version)) for version in versions]

    def _fetched(self, version: Version, scratch: Path, files: Collection[str] | None) -> Bundle:
        folder = scratch / "bundle"
        folder.mkdir()
        if files is not None:
            return fetch_files(self._store, version.model_id, version.digest, folder, files)
        bundle = fetch_bundle(self._store, version.model_id, version.digest, folder)
        self._fetched_from[version.digest] = version.model_id
        return self._cache.add(bundle)


@contextmanager
def loader_of_store(store: Store, cache: BundleCache, max_bytes: int = 2**63) -> Iterator[Loader]:
    """A loader that reads the store itself, and each part that versions share once.

    Args:
        store: an open store.
        cache: of this machine; nothing is read from it or kept in it, but it gives the folder.
        max_bytes: of what is on the disk at once; what is handed out longer ago may be gone then.
    """
    with cache.scratch() as scratch:
        yield Loader(store, BundleCache(scratch, max_bytes=max_bytes), exact=True)


def _require_same_story(version: Version, manifest: AnyManifest) -> None:
    # Where parents are may differ from where they were: it is their digests that pin them.
    pinned = bool(version.parent_digests)
    told = (
        version.kind,
        version.class_names,
        version.patched_classes,
        len(version.parents),
        version.parent_digests if pinned else version.parents,
    )
    stored = (
        manifest.kind,
        tuple(manifest.class_names),
        patched_classes(manifest),
        len(manifest.parents),
        tuple(parent.digest if pinned else parent.uri for parent in manifest.parents),
    )
    if told != stored:
        raise BundleError(
            f"its tags say {told}, its bundle {stored}; the tags were changed after it was "
            "registered"
        )


def noun(model: Model) -> str:
    """What a model is, for a message."""
    if isinstance(model, Classifier):
        return "a strong or weak model"
    return "a class module" if isinstance(model, LoadedClassModule) else "a patched model"
