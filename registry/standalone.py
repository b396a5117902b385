"""An archive as a registry that can be read and not written: models straight out of one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from modularizer.assembly.class_module import ClassModule
from modularizer.classifier import Classifier
from registry.assembling import Part, assemble, take_part
from registry.bundles.archive import Archived, open_archive, require_consistent
from registry.bundles.bundle import Bundle
from registry.bundles.evidence import parse_evidence
from registry.bundles.manifest import EVIDENCE_FILE, PatchedModelManifest
from registry.bundles.restoring import restore_network
from registry.errors import ArchiveError, NotFoundError
from registry.loading import Loaded, PartSource
from registry.naming import parse_address
from registry.version import Version, patched_classes

_NO_DATE = datetime(1980, 1, 1, tzinfo=UTC)  # what the files in an archive have


class Archive:
    """What an archive holds, under the addresses that it had where it comes from.

    It needs no store, no network and no folder of its own: the file is read, and every byte of it
    checked, each time that something is loaded.

    Args:
        path: the file.

    Raises:
        ArchiveError: if the file is no archive, or what it holds is not what it says.

    Example:
        >>> archive = Archive(Path("model.patchbay"))      # doctest: +SKIP
        >>> archive.load(archive.last.uri).model(images)   # doctest: +SKIP
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._opened() as archived:
            require_consistent(archived)
            self._versions = [_version(one) for one in archived]

    @property
    def last(self) -> Version:
        """The version that it was made for; the others are what that one needs."""
        return self._versions[-1]

    @property
    def is_current(self) -> bool:
        """An archive stands for what it held when it was opened."""
        return True

    def versions(self) -> list[Version]:
        """Every version, by name and number; without dates, aliases and runs, as none are kept."""
        return sorted(self._versions, key=lambda one: (one.name, one.version))

    def find(self, uri: str) -> Version:
        """The version with this address.

        Raises:
            AddressError: if it is no address.
            NotFoundError: if there is none; the message lists what there is.
        """
        address = parse_address(uri)
        for version in self._versions:
            if (version.name, version.version) == (address.name, address.version):
                return version
        held = ", ".join(one.uri for one in self._versions[-20:])
        raise NotFoundError(f"the archive {self._path.name} has no {uri}; it holds {held}")

    def load(self, uri: str, *, parts: PartSource | None = None) -> Loaded:
        """Load a version of any kind, a patched one with its parts.

        Args:
            uri: its address.
            parts: where the parts of a patched model may be in memory already; None loads them.

        Raises:
            AddressError, NotFoundError: as `find`.
            ArchiveError: if the file is not what it was.
            BundleError: if a model can't be put together.
        """
        version = self.find(uri)
        with self._bundles() as bundles:
            bundle = bundles.of(version)
            manifest = bundle.manifest
            if not isinstance(manifest, PatchedModelManifest):
                return Loaded(version, restore_network(bundle, manifest), manifest)
            versions = [self.find(parent) for parent in version.parents]
            found = [Part(one.uri, bundles.of(one)) for one in versions]
            return Loaded(version, assemble(manifest, found, parts), manifest, tuple(versions))

    def load_part(self, uri: str, parts: PartSource) -> Classifier | ClassModule:
        """Load what can be a part of patched models into where those are kept; raises as `load`."""
        version = self.find(uri)
        with self._bundles() as bundles:
            return take_part(Part(version.uri, bundles.of(version)), parts)

    def evidence(self, uri: str) -> Mapping[str, Any]:
        """The evidence stored with a version, empty if it has none; raises as `load`."""
        version = self.find(uri)
        with self._bundles() as bundles:
            bundle = bundles.of(version)
            if EVIDENCE_FILE not in bundle.manifest.files:
                return {}
            return parse_evidence(bundle.read(EVIDENCE_FILE))

    @contextmanager
    def _bundles(self) -> Iterator[_Bundles]:
        with self._opened() as archived:
            yield _Bundles(self._path, archived)

    @contextmanager
    def _opened(self) -> Iterator[Sequence[Archived]]:
        with (
            TemporaryDirectory(prefix="patchbay-") as scratch,
            open_archive(self._path, Path(scratch)) as archived,
        ):
            yield archived


def load_archive(path: Path) -> Loaded:
    """Load the version that an archive was made for; raises as `Archive` and `Archive.load`."""
    archive = Archive(path)
    return archive.load(archive.last.uri)


class _Bundles:
    """The bundles of an archive while it is open."""

    def __init__(self, path: Path, archived: Sequence[Archived]) -> None:
        self._path = path
        self._by_digest = {one.bundle.digest: one.bundle for one in archived}

    def of(self, version: Version) -> Bundle:
        bundle = self._by_digest.get(version.digest)
        if bundle is None:
            raise ArchiveError(
                f"{self._path} was replaced: it does not hold {version.uri} any more"
            )
        return bundle


def _version(one: Archived) -> Version:
    """What a registry would tell of it, from its bundle and from the archive's list."""
    address, manifest = parse_address(one.version.uri), one.bundle.manifest
    assert address.version is not None
    cost = {} if isinstance(manifest, PatchedModelManifest) else manifest.cost.model_dump()
    return Version(
        name=address.name,
        version=address.version,
        kind=manifest.kind,
        aliases=(),
        class_names=tuple(manifest.class_names),
        patched_classes=patched_classes(manifest),
        created=_NO_DATE,
        metrics={**manifest.metrics, **cost},
        digest=one.bundle.digest,
        parents=one.version.parents,
        parent_digests=tuple(parent.digest for parent in manifest.parents),
        model_id="",
        run_id="",
    )
