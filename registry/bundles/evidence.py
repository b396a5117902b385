"""What a version was judged by, stored beside its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.bundles.manifest import EVIDENCE_FILE
from registry.bundles.strict_json import parse_strict_json
from registry.errors import BundleError


def parse_evidence(raw: bytes) -> Mapping[str, Any]:
    """The table in these bytes.

    Raises:
        BundleError: if they hold something else.
    """
    found = parse_strict_json(raw, EVIDENCE_FILE)
    if not isinstance(found, dict):
        raise BundleError(f"expected {EVIDENCE_FILE} to hold a table, found another value")
    return found
