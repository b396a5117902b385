"""How much work a JPEG file asks for, counted before anything is decoded (ITU-T T.81)."""

from __future__ import annotations

import re

from serving.errors import InvalidImageError

MAX_SCANS = 100
"""A progressive picture takes some ten. Each passes over all pixels, and may be 33 bytes long."""

MAX_SEGMENTS = 512
"""Beside the scans. A colour profile has up to 255; Pillow joins those of EXIF one by one."""

MAX_FILL_BYTES = 65536
"""Before the first scan, where Pillow reads what is between segments byte by byte."""

# Neither a stuffed 0xFF nor a restart marker.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_END, _SCAN = 0xD9, 0xDA

# What stands without a length, or is read as if it did, by Pillow or libjpeg.
_ALONE = frozenset((*range(0xC0), 0xC8, 0xD8, _END, *range(0xF0, 0xFE)))


def require_little_work(body: bytes) -> None:
    """Refuse a JPEG file that is made up to keep a decoder busy.

    Follows the markers as Pillow and libjpeg do, so that nothing which they would read is left
    out; what comes after the picture's end, such as a film, is not looked at. Broken files pass:
    decoding them says more of what is wrong.

    Args:
        body: a whole file that begins like a JPEG.

    Raises:
        InvalidImageError: if it has more scans, segments or fill bytes than any picture needs.
    """
    scans = segments = fill_bytes = 0
    at = 2
    while (marker := _MARKER.search(body, at)) is not None:
        kind = marker[1][0]
        if scans:
            if kind == _END:
                return
        else:
            fill_bytes += marker.start() - at
        scans += kind == _SCAN
        segments += kind != _SCAN
        if scans > MAX_SCANS or segments > MAX_SEGMENTS or fill_bytes > MAX_FILL_BYTES:
            raise InvalidImageError(
                f"this JPEG asks for too much work: at most {MAX_SCANS} scans, {MAX_SEGMENTS} "
                f"other segments and {MAX_FILL_BYTES} bytes between them; save it anew"
            )
        at = marker.end()
        if kind not in _ALONE:
            at += max(2, int.from_bytes(body[at : at + 2], "big"))
