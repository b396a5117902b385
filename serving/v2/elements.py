"""BYTES tensors: elements of any length, each after its length in four bytes."""

from __future__ import annotations

import binascii
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from serving.errors import BadTensorError
from serving.v2.fields import shown

_LENGTH = struct.Struct("<I")


def pack_elements(elements: Iterable[bytes]) -> bytes:
    """The elements one after the other, each after its length: uint32, little-endian."""
    return b"".join(part for one in elements for part in (_LENGTH.pack(len(one)), one))


def unpack_elements(raw: bytes, count: int) -> list[bytes]:
    """The elements that `pack_elements` packed.

    Args:
        raw: all of them, and nothing else.
        count: how many there have to be.

    Raises:
        BadTensorError: if there are fewer or more, or one is longer than what is left.
    """
    elements = []
    at = 0
    for number in range(1, count + 1):
        if len(raw) - at < _LENGTH.size:
            raise BadTensorError(
                f"expected {count} BYTES elements, found {number - 1} and {len(raw) - at} bytes "
                "after them"
            )
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        if length > len(raw) - at:
            raise BadTensorError(
                f"BYTES element {number} of {count} says that it has {length} bytes, "
                f"found {len(raw) - at}"
            )
        elements.append(raw[at : at + length])
        at += length
    if at != len(raw):
        raise BadTensorError(
            f"expected {count} BYTES elements, found {len(raw) - at} more bytes after them"
        )
    return elements


def decode_base64(values: Sequence[Any]) -> list[bytes]:
    """The bytes behind strings of base64: the standard alphabet, padded, without line breaks.

    Raises:
        BadTensorError: if one is no string, or not of base64.
    """
    elements = []
    for number, value in enumerate(values, start=1):
        if not isinstance(value, str):
            raise BadTensorError(
                f"expected BYTES data to be base64 strings, found {shown(value)} as element "
                f"{number}"
            )
        try:
            elements.append(binascii.a2b_base64(value, strict_mode=True))
        except ValueError as error:  # binascii.Error is one, and so is text beyond ASCII
            raise BadTensorError(
                f"expected BYTES data to be base64 of an image file, without line breaks; found "
                f"{shown(value)} as element {number}: {error}"
            ) from error
    return elements
