"""Raw .npy bytes to uint8 images, trusting nothing that their header says."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from serving.errors import InvalidArrayError

MAGIC = b"\x93NUMPY"

# A header of an image array takes 128 bytes; numpy's own limit is 10,000.
_MAX_HEADER_BYTES = 1024

_REMEMBERED_BYTES = 256
"""Of the headers that are remembered, which there may be 256 of."""

_ATTEMPTS = 20

HEAD_BYTES = 2**16 + 16
"""As many bytes of a file as a header of version 1.0 can take; `npy_layout` needs no more."""

_SHAPES = "(H, W), (H, W, 1 or 3), (N, H, W) or (N, H, W, 1 or 3)"


@dataclass(frozen=True)
class NpyLayout:
    """Where the images of a .npy file lie.

    Attributes:
        shape: (N, H, W, C), each 1 or more, C 1 or 3.
        fortran_order: whether the first index moves fastest.
        start: the first pixel's place in the file, in bytes.
    """

    shape: tuple[int, int, int, int]
    fortran_order: bool
    start: int


def images_from_npy(body: bytes, *, check: Callable[[int, int, int], None]) -> NDArray[np.uint8]:
    """The images in a .npy file, without copying them if they are in C order.

    A shape of three dimensions is one image if the last is 1 or 3, and grey images otherwise.

    Args:
        body: the whole file.
        check: called with (images, height, width) before anything is allocated; raises if
            that is too much.

    Returns:
        uint8 (N, H, W, 1 or 3); read-only.

    Raises:
        InvalidArrayError: if the header is broken, dtype or shape are not those of images, or the
            bytes are not as many as the header says.
    """
    layout = npy_layout(body[:HEAD_BYTES], len(body), body=body)
    check(*layout.shape[:3])
    pixels = np.frombuffer(body, np.uint8, math.prod(layout.shape), layout.start)
    if layout.fortran_order:
        # Dimensions of one image or one channel that were added move nothing in memory.
        return np.ascontiguousarray(pixels.reshape(layout.shape[::-1]).transpose())
    return pixels.reshape(layout.shape)


def npy_layout(head: bytes, size: int, *, body: bytes = b"", many: bool = False) -> NpyLayout:
    """Where the images of a .npy file lie, from its first bytes.

    Args:
        head: the first `HEAD_BYTES` of the file, or all of it.
        size: of the whole file in bytes.
        body: the whole file if it is at hand, to say more of values that are no pixels.
        many: whether three dimensions are always grey images (N, H, W), as in an .npz.

    Raises:
        InvalidArrayError: as `images_from_npy`.
    """
    shape, fortran_order, dtype, start = _header(head)
    count = math.prod(shape)
    if dtype.hasobject:
        raise InvalidArrayError(
            f"expected uint8 images, found dtype {dtype}; objects are never read"
        )
    if size - start != count * dtype.itemsize:
        raise InvalidArrayError(
            f"the .npy header promises {count * dtype.itemsize} bytes of data "
            f"({dtype}, shape {shape}), found {size - start}"
        )
    if dtype != np.uint8:
        raise InvalidArrayError(_wrong_dtype(dtype, body, start))
    full = _batch_shape((*shape, 1) if many and len(shape) == 3 else shape)
    return NpyLayout(full, fortran_order, start)


def _header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, order, dtype and where the values begin."""
    # Of version 1.0 two bytes say how long the header is, after eight that say what it is.
    length = 10 + int.from_bytes(head[8:10], "little")
    if head[6:8] == b"\x01\x00" and length <= min(len(head), _REMEMBERED_BYTES):
        return _remembered_header(head[:length])
    return _parsed_header(head)


@lru_cache(maxsize=256)
def _remembered_header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """What `_parsed_header` gives; clients send the same header with every image."""
    return _parsed_header(head)


def _parsed_header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    for attempt in range(_ATTEMPTS):
        try:
            shape, fortran_order, dtype, start = _read_header(io.BytesIO(head))
            break
        except InvalidArrayError:
            raise
        except SystemError as error:
            # numpy reads headers with Python's ast, which in Python 3.11 counts its depth for all
            # threads together, and fails where one of them went in between; none is to blame.
            if attempt == _ATTEMPTS - 1:
                raise InvalidArrayError("the .npy header can't be read") from error
        except Exception as error:  # the parser may fail in any way on bytes made up to do so
            message = f"the .npy header can't be read: {_first_line(error)}"
            raise InvalidArrayError(message) from error
    if any(type(size) is not int or size < 0 for size in shape):  # numpy lets True pass
        raise InvalidArrayError(f"the .npy header says shape {shape}; sizes are 0 or more")
    return shape, fortran_order, dtype, start


def _read_header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    version = npy_format.read_magic(stream)
    readers = {
        (1, 0): npy_format.read_array_header_1_0,
        (2, 0): npy_format.read_array_header_2_0,
    }
    if version not in readers:
        raise InvalidArrayError(f"expected a .npy file of version 1.0 or 2.0, found {version}")
    shape, fortran_order, dtype = readers[version](stream, max_header_size=_MAX_HEADER_BYTES)
    return shape, bool(fortran_order), dtype, stream.tell()


def _batch_shape(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    match shape:
        case (height, width):
            full = (1, height, width, 1)
        case (height, width, (1 | 3) as channels):
            full = (1, height, width, channels)
        case (images, height, width):
            full = (images, height, width, 1)
        case (images, height, width, (1 | 3) as channels):
            full = (images, height, width, channels)
        case _:
            raise InvalidArrayError(f"expected an array of shape {_SHAPES}, found {shape}")
    if 0 in full:
        raise InvalidArrayError(
            f"expected at least one image with at least one pixel, found {shape}"
        )
    return full


def _wrong_dtype(dtype: np.dtype[Any], body: bytes, start: int) -> str:
    found = f"expected uint8 images (0-255), found {dtype}"
    if dtype.kind == "f" and body:
        values = np.frombuffer(body, dtype, offset=start)
        broken = int((~np.isfinite(values)).sum())
        if broken:
            nan = int(np.isnan(values).sum())
            found += f" with {nan} NaN and {broken - nan} infinite values"
    return f"{found}; scale to 0-255 and convert with .astype(numpy.uint8) first"


def _first_line(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0][:200]
