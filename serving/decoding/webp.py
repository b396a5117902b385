"""The size that a WebP file declares, read before anything is decoded (RFC 9649)."""

from __future__ import annotations

from serving.errors import InvalidImageError

_START = 12  # "RIFF", the size, "WEBP"
_NEEDED_BYTES = _START + 8 + 10
_ANIMATION = 0x02


def is_webp(body: bytes) -> bool:
    """Whether bytes begin like a WebP file."""
    return body[:4] == b"RIFF" and body[8:_START] == b"WEBP"


def webp_size(body: bytes) -> tuple[int, int]:
    """Height and width in pixels, as the first chunk declares them.

    Pillow takes memory for two whole pictures when it opens a WebP file, before it can be asked
    how large they are.

    Args:
        body: a file for which `is_webp` is true.

    Raises:
        InvalidImageError: if the header is broken, or the file is an animation.
    """
    if len(body) < _NEEDED_BYTES:
        raise InvalidImageError(f"this WebP is broken: it ends after {len(body)} bytes")
    kind, data = body[_START : _START + 4], body[_START + 8 : _NEEDED_BYTES]
    if kind == b"VP8X":
        if data[0] & _ANIMATION:
            raise InvalidImageError("this WebP is an animation; send one of its pictures")
        width = 1 + int.from_bytes(data[4:7], "little")
        height = 1 + int.from_bytes(data[7:10], "little")
    elif kind == b"VP8L" and data[0] == 0x2F:
        bits = int.from_bytes(data[1:5], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
        width = int.from_bytes(data[6:8], "little") & 0x3FFF
        height = int.from_bytes(data[8:10], "little") & 0x3FFF
    else:
        raise InvalidImageError("this WebP is broken: its header can't be read")
    if not (height and width):
        raise InvalidImageError(f"this WebP is broken: it declares {height} x {width} pixels")
    return height, width
