"""A model straight out of an archive, without a registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from modularizer.classifier import Classifier
from registry.bundles.archive import Archived, ArchivedVersion, open_archive
from registry.bundles.manifest import PatchedModelManifest
from registry.bundles.restoring import LoadedClassModule, Model, restore_network, restore_patched
from registry.errors import ArchiveError


@dataclass(frozen=True)
class Standalone:
    """A model and which version it was where it comes from.

    Attributes:
        version: its address there, and its digest.
        model: on the CPU, in evaluation mode.
    """

    version: ArchivedVersion
    model: Model


def load_archive(path: Path) -> Standalone:
    """Load an archive's last version, the one that it was made for.

    Every byte is checked, and the model is compared with its test prediction.

    Raises:
        ArchiveError: if the file is no archive, or what it holds is not what it says.
        BundleError: if a model can't be put together.
    """
    with (
        TemporaryDirectory(prefix="patchbay-") as scratch,
        open_archive(path, Path(scratch)) as archived,
    ):
        done: dict[str, Model] = {}
        for one in archived:  # by digest, which is what a patched model pins its parts by
            parents = [done.get(parent.digest) for parent in one.bundle.manifest.parents]
            done[one.bundle.digest] = _restored(one, parents)
        last = archived[-1]
        return Standalone(last.version, done[last.bundle.digest])


def _restored(one: Archived, parents: Sequence[Model | None]) -> Model:
    manifest = one.bundle.manifest
    if not isinstance(manifest, PatchedModelManifest):
        return restore_network(one.bundle, manifest)
    weak, *modules = parents
    if not isinstance(weak, Classifier):
        raise ArchiveError(f"the archive holds {one.version.uri} without its weak model")
    loaded = [module.class_module for module in modules if isinstance(module, LoadedClassModule)]
    if len(loaded) != len(manifest.patches):
        raise ArchiveError(f"the archive holds {one.version.uri} without all of its class modules")
    return restore_patched(manifest, weak, loaded)
