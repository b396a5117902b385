"""A registered version, as a plain record."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from registry.bundles.manifest import KINDS, AnyManifest, Kind, PatchedModelManifest
from registry.errors import BundleError

TAG_PREFIX = "patchbay."
OWNER_TAG = f"{TAG_PREFIX}owner"
"""Of a run or a name: the process that made it, see `registry.owner`."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_VALUE_LENGTH = 100_000  # MLflow's own limit


@dataclass(frozen=True)
class Version:
    """One version of one name: what it is, without its weights.

    Attributes:
        name: the registered name.
        version: 1 or more.
        kind: strong, weak, class_module or patched.
        aliases: those that point here, sorted.
        class_names: the classes it scores, in output order; one for a class module.
        patched_classes: the classes that have a patch; empty unless it is patched.
        created: when, in UTC.
        metrics: those stored in its bundle, and the counts of its cost (kernels, parameters,
            multiply_adds) unless it is patched.
        digest: SHA-256 of its ``bundle.json``; pins every byte of it.
        parents: addresses of the versions it was made from: a class module's strong model; a
            patched model's weak model, then its class modules. Of an imported version, where
            they are here; one that was not imported with it keeps the address that it had.
        parent_digests: of each parent the digest of what it was then; empty where it was
            registered before these were listed.
        model_id: MLflow's LoggedModel.
        run_id: MLflow's run that made it.
    """

    name: str
    version: int
    kind: Kind
    aliases: tuple[str, ...]
    class_names: tuple[str, ...]
    patched_classes: tuple[str, ...]
    created: datetime
    metrics: Mapping[str, float]
    digest: str
    parents: tuple[str, ...]
    parent_digests: tuple[str, ...]
    model_id: str
    run_id: str

    @property
    def uri(self) -> str:
        """Its address, ``models:/name/version``."""
        return f"models:/{self.name}/{self.version}"

    def is_made_from(self, other: Version) -> bool:
        """Whether the other one is among its parents."""
        if not self.parent_digests:
            return other.uri in self.parents
        return (other.uri, other.digest) in zip(self.parents, self.parent_digests, strict=False)


@dataclass(frozen=True)
class UnreadVersion:
    """A version that is there, of which nothing more can be read.

    Attributes:
        name: the registered name.
        version: 1 or more.
        reason: why it can't be read.
    """

    name: str
    version: int
    reason: str

    @property
    def uri(self) -> str:
        """Its address, ``models:/name/version``."""
        return f"models:/{self.name}/{self.version}"


def version_tags(
    manifest: AnyManifest, digest: str, parents: Sequence[str] | None = None
) -> dict[str, str]:
    """The tags by which a version is listed and found without its bundle.

    Args:
        manifest: the bundle's.
        digest: SHA-256 of its ``bundle.json``.
        parents: where its parents are in this registry; None for the manifest's own addresses.

    Raises:
        BundleError: if one is too long for MLflow.
    """
    cost = {} if isinstance(manifest, PatchedModelManifest) else manifest.cost.model_dump()
    tags = {
        "kind": manifest.kind,
        "digest": digest,
        "format_version": str(manifest.format_version),
        "class_names": json.dumps(manifest.class_names),
        "patched_classes": json.dumps(patched_classes(manifest)),
        "metrics": json.dumps({**manifest.metrics, **cost}),
        "parents": json.dumps(
            [parent.uri for parent in manifest.parents] if parents is None else list(parents)
        ),
        "parent_digests": json.dumps([parent.digest for parent in manifest.parents]),
    }
    for key, value in tags.items():
        if len(value) > _MAX_VALUE_LENGTH:
            raise BundleError(
                f"{key} take {len(value)} characters; the registry's list holds {_MAX_VALUE_LENGTH}"
            )
    return {TAG_PREFIX + key: value for key, value in tags.items()}


def patched_classes(manifest: AnyManifest) -> tuple[str, ...]:
    """The classes whose score a patched model replaces; none for other kinds."""
    if not isinstance(manifest, PatchedModelManifest):
        return ()
    return tuple(entry.class_name for entry in manifest.patches)


def is_ours(tags: Mapping[str, str]) -> bool:
    """Whether a version's tags say that patchbay registered it."""
    return tags.get(TAG_PREFIX + "kind") in KINDS


def version_from_tags(
    tags: Mapping[str, str],
    *,
    name: str,
    version: int,
    aliases: tuple[str, ...],
    created_ms: int,
    source: str,
    run_id: str | None,
) -> Version:
    """A version from what MLflow keeps about it.

    Raises:
        BundleError: if a tag is missing or broken, or the source is not a LoggedModel.
    """
    where = f"models:/{name}/{version}"
    model_id = source.removeprefix("models:/")
    if (
        model_id == source
        or not model_id.startswith("m-")
        or not model_id.isascii()
        or (not model_id[2:].isalnum())
    ):
        raise BundleError(
            f"{where}: expected a source of the form models:/m-..., found {source[:200]!r}; "
            "it was not registered by patchbay and is not opened"
        )
    if not is_ours(tags):
        raise BundleError(f"{where} was not registered by patchbay: it has no tag patchbay.kind")

    def listed(key: str, missing: str | None = None) -> Any:
        found = tags.get(TAG_PREFIX + key, missing)
        if found is None:
            raise KeyError(TAG_PREFIX + key)
        return json.loads(found)

    try:
        return Version(
            name=name,
            version=version,
            kind=next(kind for kind in KINDS if kind == tags[TAG_PREFIX + "kind"]),
            aliases=tuple(sorted(aliases)),
            class_names=_class_names(listed("class_names"), tags[TAG_PREFIX + "kind"]),
            patched_classes=tuple(str(item) for item in listed("patched_classes")),
            created=datetime.fromtimestamp(created_ms / 1000, UTC),
            metrics={str(key): _finite(value) for key, value in listed("metrics").items()},
            digest=_digest(tags[TAG_PREFIX + "digest"]),
            parents=tuple(str(item) for item in listed("parents")),
            parent_digests=tuple(str(item) for item in listed("parent_digests", "[]")),
            model_id=model_id,
            run_id=run_id or "",
        )
    except (
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        raise BundleError(
            f"{where}: its tags were changed and can't be read ({error}); register it again"
        ) from error


def _class_names(names: Any, kind: str) -> tuple[str, ...]:
    if not names or (kind == "class_module" and len(names) != 1):
        raise ValueError(f"a {kind} has {len(names)} class names")
    return tuple(str(name) for name in names)


def _digest(value: str) -> str:
    if not _DIGEST.fullmatch(value):
        raise ValueError("the digest is no SHA-256")
    return value


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"a metric is {number}")
    return number
