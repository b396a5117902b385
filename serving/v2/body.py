"""A V2 body as it arrives: a JSON object, and the raw bytes of tensors after it."""

from __future__ import annotations

import re

from pydantic_core import from_json

from serving.errors import BadBodyError
from serving.v2.fields import Fields

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The HTTP header that says how many bytes of a body are JSON."""

MAX_JSON_VALUES = 4_000_000
"""What the JSON of a request may hold: small values take forty times as much memory as text."""

_DIGITS = re.compile(r"[0-9]{1,18}")


def split_body(body: bytes, header_length: str | None) -> tuple[Fields, bytes]:
    """The JSON object at the beginning, and what comes after it.

    Where a key appears twice in one object, the last one counts. NaN and Infinity, which some
    clients write although JSON has neither, are left to whoever reads the values.

    Args:
        body: the whole body.
        header_length: the value of the header `HEADER_LENGTH`; None if there is none, and then
            all of the body is JSON.

    Raises:
        BadBodyError: if the length is none or can't be, or the JSON is broken, nested deeper
            than 200 levels, or holds more than 4 million values.
        BadInferRequestError: if the JSON is no object.
    """
    end = len(body) if header_length is None else _json_bytes(header_length, len(body))
    text = body[:end]
    _require_few_values(text)
    try:
        value = from_json(text, cache_strings="keys")
    except ValueError as error:
        raise BadBodyError(
            f"expected JSON in the first {end} bytes of the body: {str(error)[:200]}"
        ) from error
    return Fields(value, "the request"), body[end:]


def _json_bytes(header_length: str, size: int) -> int:
    if not _DIGITS.fullmatch(header_length.strip()):
        raise BadBodyError(
            f"expected {HEADER_LENGTH} to be a whole number of bytes, found {header_length[:60]!r}"
        )
    end = int(header_length)
    if end > size:
        raise BadBodyError(f"{HEADER_LENGTH} says {end}, but the body has {size} bytes")
    if end == 0:
        raise BadBodyError(
            f"{HEADER_LENGTH} is 0: raw bytes without JSON don't say how large the images are; "
            "put the request's JSON before them"
        )
    return end


def _require_few_values(text: bytes) -> None:
    # Each value comes after one of these marks; that they may stand in a string makes it more.
    values = sum(text.count(mark) for mark in (b",", b"[", b"{"))
    if values > MAX_JSON_VALUES:
        raise BadBodyError(
            f"at most {MAX_JSON_VALUES} JSON values a request, found about {values}; send the "
            "tensor as binary data, or in several requests"
        )
