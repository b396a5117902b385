"""Images of a .npy or .npz file, read a few at a time."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from modularizer.errors import DataError
from serving.decoding.arrays import HEAD_BYTES, NpyLayout, npy_layout
from serving.errors import RequestError

ARRAY_SUFFIXES = frozenset({".npy", ".npz"})

_MEMBERS = ("images", "test_images")

# What zipfile raises on damaged, encrypted or unknown members, beside what reading raises.
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


class ImageArray:
    """The images of a .npy file, or of `images`, else `test_images`, in an .npz.

    No more than what is asked for is read, save for an array in Fortran order, which lies the
    wrong way round and is read whole. The file is open from the first image asked for to the last.

    Args:
        path: the file; its header alone is read.

    Raises:
        DataError: if it can't be read, or its array is not one of images.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        found = path.stat()
        self._stamp = (found.st_size, found.st_mtime_ns)
        self._open: ExitStack | None = None
        self._stream: IO[bytes] | None = None
        self._whole: NDArray[np.uint8] | None = None
        with self._told_with_path(), ExitStack() as stack:
            stream, size = self._member(stack)
            head = stream.read(HEAD_BYTES)
            self._layout: NpyLayout = npy_layout(head, size, many=path.suffix.lower() == ".npz")

    def __len__(self) -> int:
        return self._layout.shape[0]

    def name(self, index: int) -> str:
        """The path and the image's place in the array."""
        return f"{self.path}[{index}]"

    def stamp(self, index: int) -> tuple[int, int]:
        """The file's size and time of change (ns)."""
        return self._stamp

    def fetch(self, start: int, stop: int) -> list[NDArray[np.uint8]]:
        """Read the images ``start`` up to ``stop``: uint8 (H, W, 1 or 3) each.

        Raises:
            DataError: if the file is damaged or was changed.
        """
        with self._told_with_path():
            images = self._read(start, stop)
        if stop >= len(self):
            self.close()
        return list(images)

    def close(self) -> None:
        """Close the file; asking for an image opens it again."""
        if self._open is not None:
            self._open.close()
        self._open = self._stream = self._whole = None

    def _read(self, start: int, stop: int) -> NDArray[np.uint8]:
        shape = (stop - start, *self._layout.shape[1:])
        if self._open is None:
            self._open = ExitStack()
            self._stream, _ = self._member(self._open)
        assert self._stream is not None
        if not self._layout.fortran_order:
            self._stream.seek(self._layout.start + start * math.prod(shape[1:]))
            return _pixels(self._stream, math.prod(shape)).reshape(shape)
        if self._whole is None:
            self._stream.seek(self._layout.start)
            pixels = _pixels(self._stream, math.prod(self._layout.shape))
            whole = pixels.reshape(self._layout.shape[::-1]).transpose()
            self._whole = np.ascontiguousarray(whole)
        return self._whole[start:stop]

    def _member(self, stack: ExitStack) -> tuple[IO[bytes], int]:
        """The array's bytes as a stream, and how many there are."""
        if self.path.suffix.lower() == ".npy":
            return stack.enter_context(self.path.open("rb")), self._stamp[0]
        archive = stack.enter_context(zipfile.ZipFile(self.path))
        present = {one.filename: one for one in archive.infolist()}
        for member in _MEMBERS:
            if f"{member}.npy" in present:
                found = present[f"{member}.npy"]
                return stack.enter_context(archive.open(found)), found.file_size
        raise DataError(
            f"{self.path} holds no array {' or '.join(_MEMBERS)}; found "
            f"{', '.join(name.removesuffix('.npy') for name in present) or 'nothing'}"
        )

    @contextmanager
    def _told_with_path(self) -> Iterator[None]:
        try:
            yield
        except RequestError as error:
            raise DataError(f"{self.path}: {error}") from error
        except _UNREADABLE as error:
            raise DataError(f"{self.path} can't be read as an array: {error}") from error


def _pixels(stream: IO[bytes], count: int) -> NDArray[np.uint8]:
    raw = stream.read(count)
    if len(raw) != count:
        raise EOFError(f"expected {count} more bytes of pixels, found {len(raw)}")
    return np.frombuffer(raw, np.uint8)
