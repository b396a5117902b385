"""JSON without its loose ends: no key twice, no NaN, no endless nesting."""

from __future__ import annotations

import json
from typing import Any

from registry.errors import BundleError


def parse_strict_json(raw: bytes, what: str) -> Any:
    """Read JSON that could come from anyone.

    Args:
        raw: UTF-8 JSON; its size is the caller's to bound.
        what: what is being read, for the message.

    Raises:
        BundleError: if it isn't JSON, names a key twice in one object, or nests too deep.
    """
    try:
        return json.loads(raw, object_pairs_hook=_without_doubles, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{what} can't be read as JSON: {str(error)[:200]}") from error


def dump_strict_json(plain: Any, what: str, *, indent: int | None = 1) -> bytes:
    """The bytes of sorted JSON.

    Args:
        plain: what to write.
        what: what is being written, for the message.
        indent: spaces a level; None for one line, which takes half the room of many numbers.

    Raises:
        BundleError: if it holds what JSON can't: NaN, infinity, or an object of another type.
    """
    try:
        return json.dumps(plain, indent=indent, sort_keys=True, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"{what} can't be stored as JSON: {error}") from error


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return mapping


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
