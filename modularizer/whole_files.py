"""Files that are there whole or not at all, whenever a process ends."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, raw: bytes) -> None:
    """Replace a file by these bytes in one step; folders on the way are made.

    After this returns they survive the end of the process and a power cut. Until then they lie
    beside it under a hidden name, which readers of whole folders leave out.

    Raises:
        OSError: if it can't be written; what was there before is there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            file.write(raw)
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
