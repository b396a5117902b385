"""``bundle.json`` as bytes: written one way, read with every check that needs no other file."""

from __future__ import annotations

import json

from pydantic import TypeAdapter, ValidationError

from registry.bundles.formats import upgraded
from registry.bundles.manifest import AnyManifest, Manifest
from registry.bundles.strict_json import dump_strict_json, parse_strict_json
from registry.errors import BundleError

MAX_MANIFEST_BYTES = 8 * 2**20

_ADAPTER: TypeAdapter[AnyManifest] = TypeAdapter(Manifest)


def dump_manifest(manifest: AnyManifest) -> bytes:
    """The bytes of ``bundle.json``.

    Raises:
        BundleError: if they exceed 8 MiB, or hold what JSON can't (NaN in a setting).
    """
    raw = dump_strict_json(manifest.model_dump(mode="json"), "bundle.json")
    _require_small(raw)
    return raw


def parse_manifest(raw: bytes) -> AnyManifest:
    """Read the bytes of ``bundle.json``.

    Raises:
        BundleError: if they are too many, not JSON, name a key twice, are of an unknown format
            version, or a value is missing, unknown or out of range.
    """
    _require_small(raw)
    plain = upgraded(parse_strict_json(raw, "bundle.json"))
    try:
        return _ADAPTER.validate_json(json.dumps(plain))  # JSON, in which a tuple is a list
    except ValidationError as error:
        raise BundleError(f"bundle.json is not valid: {first_complaint(error)}") from error


def first_complaint(error: ValidationError) -> str:
    """The first of a validation's complaints in one line, with its place."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    place = ".".join(str(step) for step in first["loc"]) or "the whole"
    return f"{place[:200]}: {first['msg'][:300]}{more}"


def _require_small(raw: bytes) -> None:
    if len(raw) > MAX_MANIFEST_BYTES:
        raise BundleError(
            f"bundle.json may have {MAX_MANIFEST_BYTES} bytes, found {len(raw)}; "
            "large evidence belongs in a file of its own"
        )
