"""How a version comes to be: staged, stored, read back and loaded before it has a name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from registry.bundles.bundle import Bundle, write_bundle
from registry.bundles.cache import BundleCache
from registry.bundles.manifest import AnyManifest
from registry.errors import BundleError, NotFoundError
from registry.model_page import description, name_description, numbers
from registry.naming import Address, require_name
from registry.steps import Step
from registry.store.client import Store
from registry.store.exclusive import exclusive
from registry.store.fetching import fetch_bundle
from registry.store.runs import RunLog
from registry.store.versions import create_version, get_version, has_versions, link_model
from registry.version import Version, version_tags

logger = logging.getLogger(__name__)


class Registrable(Protocol):
    """One model on its way into the registry.

    Attributes:
        name: to register it under.
        verify: loads the bundle as it was stored and compares it with the original; raises a
            `BundleError` if they differ.
        parents: where its parents are in this registry; None for the manifest's own addresses.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def verify(self) -> Callable[[Bundle], None]: ...  # noqa: D102

    @property
    def parents(self) -> Sequence[str] | None: ...  # noqa: D102

    def stage(self, folder: Path) -> Bundle:
        """Put its bundle into an empty folder."""
        ...


@dataclass(frozen=True)
class Entry:
    """A model that was made here; see `Registrable`.

    Attributes:
        manifest: without its files.
        contents: file name to bytes.
    """

    name: str
    manifest: AnyManifest
    contents: Mapping[str, bytes]
    verify: Callable[[Bundle], None]
    parents: Sequence[str] | None = None

    def stage(self, folder: Path) -> Bundle:
        """Write its bundle into an empty folder."""
        return write_bundle(folder, self.manifest, self.contents)


def register(
    run: RunLog, entries: Sequence[Registrable], *, parents: Sequence[Version], cache: BundleCache
) -> list[Version]:
    """Store every entry, and only when all of them are there and load make versions of them.

    What fails or is interrupted before leaves LoggedModels marked FAILED, and no version; while
    versions are made, those that are there stay. What is killed leaves what `registry.checking`
    clears.

    Args:
        run: the run that made them.
        entries: in the order their versions are made.
        parents: what they were made from.
        cache: gives folders to work in.

    Raises:
        BundleError: if one is not the same after it was stored.
        NotFoundError: if a parent was deleted meanwhile.
    """
    for entry in entries:
        require_name(entry.name)
    unregistered: list[str] = []
    versions: list[Version] = []
    try:
        stored = [
            _store(run, entry, number, unregistered, cache) for number, entry in enumerate(entries)
        ]
        run.log_lineage(inputs=[parent.model_id for parent in parents], outputs=unregistered)
        run.store.on_step(Step.LINKED)
        with exclusive(run.store) if parents else nullcontext():
            for parent in parents:
                _require_still_there(run.store, parent)
            for entry, (manifest, tags) in zip(entries, stored, strict=True):
                version = create_version(
                    run.store,
                    entry.name,
                    model_id=unregistered[0],
                    run_id=run.run_id,
                    tags=tags,
                    description=description(manifest, entry.parents),
                    name_description=name_description(entry.name, manifest),
                )
                versions.append(version)
                unregistered.pop(0)
                run.store.on_step(Step.VERSIONED)
    except BaseException:
        for place, model_id in enumerate(unregistered):
            # Of the first one a version may have been made all the same.
            if place > 0 or not _is_registered(run.store, model_id):
                run.finalize(model_id, ready=False)
        if versions:
            stay = ", ".join(version.uri for version in versions)
            logger.warning("%s were registered before this failed, and stay", stay)
        raise
    for version in versions:
        also(partial(link_model, run.store, version))
    return versions


def also(tell: Callable[[], None]) -> None:
    """Do what MLflow's pages are better for; a version that is there is not refused for it."""
    try:
        tell()
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        logger.warning("what MLflow's pages show of it is not complete: %s", reason)
        logger.debug("this is where it failed", exc_info=True)


def _is_registered(store: Store, model_id: str) -> bool:
    try:
        return has_versions(store, model_id)
    except Exception:  # the error that led here matters more
        logger.debug("could not ask for versions of %s", model_id, exc_info=True)
        return True


def _require_still_there(store: Store, parent: Version) -> None:
    try:
        found = get_version(store, Address(parent.name, version=parent.version))
    except NotFoundError as error:
        raise NotFoundError(f"{parent.uri} was deleted while this was made from it") from error
    if found.model_id != parent.model_id:
        raise NotFoundError(f"{parent.uri} was deleted, and another model has its address now")


def _store(
    run: RunLog, entry: Registrable, number: int, unregistered: list[str], cache: BundleCache
) -> tuple[AnyManifest, dict[str, str]]:
    tell = run.store.on_step
    with cache.scratch() as scratch:
        staged_folder, returned_folder = scratch / "staged", scratch / "returned"
        staged_folder.mkdir()
        returned_folder.mkdir()
        staged = entry.stage(staged_folder)
        tags = version_tags(staged.manifest, staged.digest, entry.parents)
        tell(Step.STAGED)
        model_id = run.create_model(staged.manifest, entry.name, tags, entry.parents)
        unregistered.append(model_id)
        tell(Step.MODEL_CREATED)
        run.upload(staged, model_id)
        tell(Step.UPLOADED)
        try:
            entry.verify(fetch_bundle(run.store, model_id, staged.digest, returned_folder))
        except BundleError as error:
            raise BundleError(f"{entry.name} was not stored as it is: {error}") from error
        tell(Step.READ_BACK)
    run.log_model_metrics(model_id, *numbers(staged.manifest), staged.manifest.origin, step=number)
    run.finalize(model_id, ready=True)
    tell(Step.READY)
    return staged.manifest, tags
