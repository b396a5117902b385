"""What an address stood for last, on this machine: to go on while the store can't be reached."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modularizer.assembly.patched import PatchedClassifier
from modularizer.whole_files import write_whole
from registry.assembling import Part, assemble
from registry.bundles.bundle import Bundle
from registry.bundles.cache import BundleCache, cache_root
from registry.bundles.evidence import parse_evidence
from registry.bundles.manifest import (
    EVIDENCE_FILE,
    Digest,
    NetworkManifest,
    PatchedModelManifest,
    PinnedUri,
)
from registry.errors import BundleError, NotFoundError
from registry.loading import PartSource
from registry.store.home import locate
from registry.version import Version


class RememberedVersion(BaseModel):
    """A patched version that an address stood for.

    Attributes:
        uri: its address with a version.
        digest: SHA-256 of its ``bundle.json``; it pins all of its parts.
        parents: where its weak model and its class modules were.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: PinnedUri
    digest: Digest
    parents: Annotated[tuple[PinnedUri, ...], Field(min_length=2)]


@dataclass(frozen=True)
class Recalled:
    """A patched model out of the cache.

    Attributes:
        version: which.
        model: on the CPU unless its parts are elsewhere, in evaluation mode.
        manifest: everything else that is stored with it.
        parts: the same of its weak model, then of its class modules, in patch order.
        evidence: what it was judged by; empty if it has none.
    """

    version: RememberedVersion
    model: PatchedClassifier
    manifest: PatchedModelManifest
    parts: tuple[NetworkManifest, ...]
    evidence: Mapping[str, Any]


class Memory:
    """What addresses stood for, in the cache of this machine; it needs no store.

    Args:
        home: of which registry, as `registry.registry.Registry.open` takes it.
    """

    def __init__(self, home: Path | str | None = None) -> None:
        location = locate(home)
        self._store = location.tracking_uri
        self._root = cache_root(location.home)
        self._cache = BundleCache(self._root)

    def keep(self, asked: str, version: Version) -> None:
        """Remember what an address stands for now.

        Args:
            asked: the address, such as ``models:/name@champion``.
            version: a patched one that was loaded.

        Raises:
            OSError: if it can't be written.
        """
        kept = RememberedVersion(uri=version.uri, digest=version.digest, parents=version.parents)
        write_whole(self._file(asked), kept.model_dump_json().encode())

    def recall(self, asked: str, parts: PartSource) -> Recalled:
        """Load what an address stood for last, checked as always, from the cache alone.

        Args:
            asked: the address.
            parts: where its parts may be in memory already.

        Raises:
            NotFoundError: if nothing is remembered, or not all of it is in the cache any more.
            BundleError: if what is there is not what was registered.
        """
        try:
            found = RememberedVersion.model_validate_json(self._file(asked).read_bytes())
        except (OSError, ValidationError) as error:
            raise NotFoundError(f"{asked} was not served from this machine before") from error
        bundle = self._bundle(found.digest)
        manifest = bundle.manifest
        if not isinstance(manifest, PatchedModelManifest):
            raise BundleError(f"expected a patched model in the cache for {asked}")
        pinned = list(zip(manifest.parents, found.parents, strict=True))
        cached = [Part(uri, self._bundle(parent.digest)) for parent, uri in pinned]
        manifests = tuple(_network_manifest(part) for part in cached)
        patched = assemble(manifest, cached, parts)
        has_evidence = EVIDENCE_FILE in manifest.files
        evidence = parse_evidence(bundle.read(EVIDENCE_FILE)) if has_evidence else {}
        return Recalled(found, patched, manifest, manifests, evidence)

    def _bundle(self, digest: str) -> Bundle:
        bundle = self._cache.find(digest)
        if bundle is None:
            raise NotFoundError(f"{digest[:12]} is not in the cache {self._root} any more")
        return bundle

    def _file(self, asked: str) -> Path:
        key = hashlib.sha256(f"{self._store}\n{asked}".encode()).hexdigest()
        return self._root / "remembered" / f"{key}.json"


def _network_manifest(part: Part) -> NetworkManifest:
    manifest = part.bundle.manifest
    if isinstance(manifest, PatchedModelManifest):
        raise BundleError(f"{part.uri} is a patched model; those can't be parts of another")
    return manifest
