"""Folders for work in progress, named by their owner: a killed process can't remove its own."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from registry.owner import UNKNOWN_FOR, is_gone, this_process

logger = logging.getLogger(__name__)

_FOR_SLASH = "+"


@contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """An empty folder that is removed in the end.

    Args:
        root: below which it is made, on the file system where its contents are to end. If it
            can't be written, the folder is made among the system's temporary files.
    """
    owner = this_process().replace("/", _FOR_SLASH)
    try:
        root.mkdir(parents=True, exist_ok=True)
        made = Path(mkdtemp(prefix=f"{owner}{_FOR_SLASH}", dir=root))
    except OSError as error:
        logger.debug("%s can't be written: %s", root, error)
        with TemporaryDirectory(prefix="patchbay-") as temporary:
            yield Path(temporary)
        return
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def abandoned(root: Path) -> list[Path]:
    """Folders below ``root`` whose processes have ended.

    Of another machine, or of this one before it was started again, those of a day ago and more.
    """
    if not root.is_dir():
        return []
    return sorted(folder for folder in root.iterdir() if _is_abandoned(folder))


def _is_abandoned(folder: Path) -> bool:
    owner = _owner(folder)
    if not owner:
        return False
    gone = is_gone(owner)
    if gone is not None:
        return gone
    try:
        return time.time() - folder.stat().st_mtime > UNKNOWN_FOR.total_seconds()
    except FileNotFoundError:
        return False


def _owner(folder: Path) -> str:
    return folder.name.rpartition(_FOR_SLASH)[0].replace(_FOR_SLASH, "/")
