"""The end of a zip file, which says how much is listed in it, read before anything else is."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from registry.errors import ArchiveError

_END, _END_64, _LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_END_BYTES, _LOCATOR_BYTES, _END_64_BYTES = 22, 20, 56
_MOST_COMMENT_BYTES = 2**16
_UNKNOWN = 0xFFFFFFFF  # the 64-bit record says it


def listing_bytes(file: BinaryIO) -> int:
    """How large a zip file's list of members is, as it says itself and as Python's reader takes it.

    The reader takes some ten times as much memory for it.

    Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16.

    Args:
        file: any file; left at another place.

    Returns:
        Bytes.

    Raises:
        ArchiveError: if it is no zip file.
    """
    size = file.seek(0, os.SEEK_END)
    tail_bytes = min(size, _END_BYTES + _MOST_COMMENT_BYTES)
    file.seek(size - tail_bytes)
    tail = file.read(tail_bytes)
    place = len(tail) - _END_BYTES  # without a comment behind it, else wherever it is found last
    if place < 0 or tail[place : place + 4] != _END or tail[-2:] != b"\0\0":
        place = tail.rfind(_END)
    if place < 0 or len(tail) < place + _END_BYTES:
        raise ArchiveError("expected a zip file, found none")
    found: int = struct.unpack_from("<I", tail, place + 12)[0]
    where = size - tail_bytes + place - _LOCATOR_BYTES
    if where < 0:
        return found
    file.seek(where)
    locator = file.read(_LOCATOR_BYTES)
    if locator[:4] != _LOCATOR_64:
        return found
    file.seek(max(where - _END_64_BYTES, 0))
    record = file.read(_END_64_BYTES)
    if len(record) < _END_64_BYTES or record[:4] != _END_64:
        return found
    return max(int(struct.unpack_from("<Q", record, 40)[0]), 0 if found == _UNKNOWN else found)
