"""Files that are there whole or not at all, whenever a process ends."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def write_whole(path: Path, raw: bytes) -> None:
    """Replace a file by these bytes in one step; see `whole_file`."""
    with whole_file(path) as file:
        file.write(raw)


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Replace a file in one step by what is written into this one; folders on the way are made.

    After the block it survives the end of the process and a power cut. Until then it lies beside
    it under a hidden name, which readers of whole folders leave out.

    Raises:
        OSError: if it can't be written, or what is there is a folder, a device or a pipe; what was
            there before is there still, as after any error in the block.
    """
    path = path.resolve()  # what a link leads to is replaced, not the link
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is there, and is no plain file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name survives a power cut, too
    finally:
        os.close(folder)


def remove_unfinished(path: Path) -> None:
    """Remove what processes left that were killed as they wrote this file."""
    for unfinished in path.parent.glob(f".{path.name}.*.tmp"):
        unfinished.unlink(missing_ok=True)
