"""Bundles on this machine, by digest: versions that share a part share its copy."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from registry.bundles.bundle import Bundle, list_folder, open_bundle
from registry.errors import BundleError
from registry.scratch import scratch_folder

logger = logging.getLogger(__name__)

DEFAULT_BYTES = 20 * 2**30


class BundleCache:
    """Copies of bundles that were checked once; each file is checked again when it is read.

    What was used longest ago goes when there is more than the limit. Several processes may share
    one; entries come and go whole.

    Args:
        root: its folder; made when it is first written to.
        max_bytes: of all entries together; the one just added stays in any case.
    """

    def __init__(self, root: Path, max_bytes: int = DEFAULT_BYTES) -> None:
        self._bundles = root / "bundles"
        self._max_bytes = max_bytes
        self.scratch_root = root / "scratch"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder to put a bundle together in, for `add`; removed in the end."""
        with scratch_folder(self.scratch_root) as folder:
            yield folder

    def has(self, digest: str) -> bool:
        """Whether there is an entry, good or bad."""
        return (self._bundles / digest).is_dir()

    def find(self, digest: str) -> Bundle | None:
        """The bundle with this digest, its files' bytes unchecked; None if it is not here.

        `Bundle.read` checks them; a caller whom it tells of a change drops the entry.
        """
        folder = self._bundles / digest
        try:
            bundle = open_bundle(folder, digest)
        except FileNotFoundError:
            return None
        except (BundleError, OSError) as error:
            logger.warning("removed from the cache: %s: %s", folder, error)
            self.remove(digest)
            return None
        with suppress(OSError):  # it is somebody else's, or was removed to make room
            os.utime(folder)
        return bundle

    def add(self, bundle: Bundle) -> Bundle:
        """Keep a checked bundle that lies in a scratch folder; gives it where it lies then.

        If that can't be done it stays where it is, and a warning says so.
        """
        folder = self._bundles / bundle.digest
        try:
            self._bundles.mkdir(parents=True, exist_ok=True)
            if not folder.exists():
                bundle.folder.rename(folder)
        except OSError as error:
            if not folder.is_dir():  # otherwise another process was first
                logger.warning("%s can't be cached: %s", bundle.digest[:12], error)
                return bundle
        self._make_room(bundle.digest)
        return Bundle(folder, bundle.manifest, bundle.digest)

    def remove(self, digest: str) -> None:
        """Drop an entry; nothing happens if it is not there."""
        with scratch_folder(self.scratch_root) as folder, suppress(OSError):
            (self._bundles / digest).rename(folder / digest)

    def digests(self) -> list[str]:
        """What is here, the one used longest ago first."""
        return [name for _, name, _ in sorted(self._entries())]

    def _make_room(self, kept: str) -> None:
        entries = sorted(self._entries())
        total = sum(size for _, _, size in entries)
        for _, digest, size in entries:
            if total <= self._max_bytes:
                return
            if digest != kept:
                self.remove(digest)
                total -= size

    def _entries(self) -> list[tuple[float, str, int]]:
        """Of each entry when it was last used, its digest, and its bytes."""
        found = []
        with suppress(FileNotFoundError):
            for folder in self._bundles.iterdir():
                with suppress(OSError, BundleError):
                    used = folder.stat().st_mtime
                    found.append((used, folder.name, sum(list_folder(folder).values())))
        return found


def cache_root(home: Path | None) -> Path:
    """Where bundles are cached: ``PATCHBAY_CACHE``; else in the home; else the user's cache folder.

    Args:
        home: the embedded store's folder; None for a server.
    """
    if chosen := os.environ.get("PATCHBAY_CACHE"):
        return Path(chosen).expanduser().absolute()
    if home is not None:
        return home / "cache"
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(user).expanduser().absolute() / "patchbay"
