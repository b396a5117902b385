"""What stands behind the question mark of ``POST /predict``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from serving.errors import BadQueryError

_MAX_PARAMETERS = 200
_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no", "")
_KNOWN = "patches=CLASS,CLASS|none, explain=1, timeout_ms=MILLISECONDS"


@dataclass(frozen=True)
class PredictQuery:
    """How a request wants to be answered.

    Attributes:
        patches: as sent, one or several; None for all of the model's.
        explain: whether to say what each patch did.
        timeout_ms: within which time; None for the service's own.
    """

    patches: tuple[str, ...] | None = None
    explain: bool = False
    timeout_ms: float | None = None


def parse_query(query: str) -> PredictQuery:
    """Read a query string.

    A parameter that nobody knows is an error: a typing error would otherwise be answered as if it
    had not been sent.

    Args:
        query: what stands behind the question mark, percent-encoded.

    Raises:
        BadQueryError: with the parameters that there are.
    """
    if not query:
        return PredictQuery()
    try:
        pairs = parse_qsl(
            query,
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError as error:
        raise BadQueryError(f"the query can't be read; there are {_KNOWN}") from error
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in ("patches", "explain", "timeout_ms"):
            raise BadQueryError(f"unknown parameter {name[:100]!r}; there are {_KNOWN}")
        found.setdefault(name, []).append(value)
    patches = found.pop("patches", None)
    for name, values in found.items():
        if len(values) > 1:
            raise BadQueryError(f"{name} is given {len(values)} times")
    return PredictQuery(
        None if patches is None else tuple(patches),
        _flag(found.get("explain", ["0"])[0]),
        _milliseconds(found["timeout_ms"][0]) if "timeout_ms" in found else None,
    )


def chosen_patches(values: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...] | None:
    """Which classes' patches the values of ``patches`` name.

    A value is a class name, or several with commas between them; a class name may hold commas
    itself, so what is known as a whole is not taken apart.

    Args:
        values: as sent; None for all patches.
        known: the classes that have a patch.

    Returns:
        Class names, known or not; empty for ``none``, None for all.

    Raises:
        BadQueryError: if ``none`` or ``all`` stands beside others.
    """
    if values is None:
        return None
    names = [part for one in values for part in ([one] if one in known else one.split(","))]
    names = [name if name in known else name.strip() for name in names]
    words = [name for name in names if name in ("none", "all", "") and name not in known]
    if not words:
        return tuple(names)
    if len(set(names)) > 1:
        raise BadQueryError(f"patches={','.join(names)[:200]!r}: none and all stand alone")
    return None if words[0] == "all" else _none(words[0])


def _none(word: str) -> tuple[str, ...]:
    if not word:
        raise BadQueryError("patches is empty; for the weak model alone say patches=none")
    return ()


def _flag(value: str) -> bool:
    if value.lower() not in (*_TRUE, *_FALSE):
        raise BadQueryError(f"explain is 1 or 0, found {value[:100]!r}")
    return value.lower() in _TRUE


def _milliseconds(value: str) -> float:
    if not (value.isascii() and value.isdecimal() and 1 <= int(value[:10]) <= 3_600_000):
        raise BadQueryError(
            f"timeout_ms is a whole number from 1 to 3600000, found {value[:100]!r}"
        )
    return float(value)
