"""How a version comes to be: staged, stored, read back and loaded before it has a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from registry.bundles.bundle import Bundle, write_bundle
from registry.bundles.cache import BundleCache
from registry.bundles.manifest import AnyManifest
from registry.errors import BundleError
from registry.naming import require_name
from registry.steps import Step
from registry.store.fetching import fetch_bundle
from registry.store.runs import RunLog
from registry.store.versions import create_version
from registry.version import Version, version_tags


@dataclass(frozen=True)
class Entry:
    """One model on its way into the registry.

    Attributes:
        name: to register it under.
        manifest: without its files.
        contents: file name to bytes.
        verify: loads the bundle as it was stored and compares it with the original; raises a
            `BundleError` if they differ.
    """

    name: str
    manifest: AnyManifest
    contents: Mapping[str, bytes]
    verify: Callable[[Bundle], None]


def register(
    run: RunLog, entries: Sequence[Entry], *, parents: Sequence[str], cache: BundleCache
) -> list[Version]:
    """Store every entry, and only when all of them are there and load make versions of them.

    What fails or is interrupted before leaves LoggedModels marked FAILED, and no version; what
    is killed leaves what `registry.checking` clears.

    Args:
        run: the run that made them.
        entries: in the order their versions are made.
        parents: LoggedModel ids that they were made from.
        cache: gives folders to work in.

    Raises:
        BundleError: if one is not the same after it was stored.
    """
    for entry in entries:
        require_name(entry.name)
    unregistered: list[str] = []
    try:
        tags = []
        for number, entry in enumerate(entries):
            tags.append(_store(run, entry, number, unregistered, cache))
        run.log_lineage(inputs=parents, outputs=unregistered)
        run.store.on_step(Step.LINKED)
        versions = []
        for entry, entry_tags in zip(entries, tags, strict=True):
            model_id = unregistered[0]
            versions.append(
                create_version(
                    run.store, entry.name, model_id=model_id, run_id=run.run_id, tags=entry_tags
                )
            )
            unregistered.pop(0)
            run.store.on_step(Step.VERSIONED)
    except BaseException:
        for model_id in unregistered:
            run.finalize(model_id, ready=False)
        raise
    return versions


def _store(
    run: RunLog, entry: Entry, number: int, unregistered: list[str], cache: BundleCache
) -> dict[str, str]:
    tell = run.store.on_step
    with cache.scratch() as scratch:
        staged_folder, returned_folder = scratch / "staged", scratch / "returned"
        staged_folder.mkdir()
        returned_folder.mkdir()
        staged = write_bundle(staged_folder, entry.manifest, entry.contents)
        tags = version_tags(staged.manifest, staged.digest)
        tell(Step.STAGED)
        model_id = run.create_model(staged.manifest, entry.name, tags)
        unregistered.append(model_id)
        tell(Step.MODEL_CREATED)
        run.upload(staged, model_id)
        tell(Step.UPLOADED)
        try:
            entry.verify(fetch_bundle(run.store, model_id, staged.digest, returned_folder))
        except BundleError as error:
            raise BundleError(f"{entry.name} was not stored as it is: {error}") from error
        tell(Step.READ_BACK)
    metrics = dict(staged.manifest.metrics)
    if staged.manifest.kind != "patched":
        metrics |= staged.manifest.cost.model_dump()
    run.log_metrics(metrics, step=number, model_id=model_id)
    run.finalize(model_id, ready=True)
    tell(Step.READY)
    return tags
