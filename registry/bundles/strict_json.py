"""JSON without its loose ends: no key twice, no NaN, no endless nesting, no swarm of values."""

from __future__ import annotations

import json
import math
from typing import Any

from registry.errors import BundleError

MAX_VALUES = 4_000_000


def parse_strict_json(raw: bytes, what: str) -> Any:
    """Read JSON that could come from anyone.

    Args:
        raw: UTF-8 JSON; its size is the caller's to bound.
        what: what is being read, for the message.

    Raises:
        BundleError: if it isn't JSON, names a key twice in one object, nests too deep, or holds
            more than 4 million values.
    """
    _require_few_values(raw, what)
    try:
        return json.loads(
            raw,
            object_pairs_hook=_without_doubles,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{what} can't be read as JSON: {str(error)[:200]}") from error


def dump_strict_json(plain: Any, what: str, *, indent: int | None = 1) -> bytes:
    """The bytes of sorted JSON.

    Args:
        plain: what to write.
        what: what is being written, for the message.
        indent: spaces a level; None for one line, which takes half the room of many numbers.

    Raises:
        BundleError: if it holds what JSON can't (NaN, infinity, an object of another type), or
            more than 4 million values.
    """
    try:
        raw = json.dumps(plain, indent=indent, sort_keys=True, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"{what} can't be stored as JSON: {error}") from error
    _require_few_values(raw, what)
    return raw


def _require_few_values(raw: bytes, what: str) -> None:
    # Small lists take forty times as much memory as their JSON. Each value comes after one of
    # these marks; that they may also stand in a text makes it a few more.
    values = sum(raw.count(mark) for mark in (b",", b"[", b"{"))
    if values > MAX_VALUES:
        raise BundleError(f"{what} may hold {MAX_VALUES} values, found {values}")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return mapping


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
