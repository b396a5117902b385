"""One process at a time changes what others may be relying on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock

from registry.store.client import Store

_LOCK_SECONDS = 120


@contextmanager
def exclusive(store: Store) -> Iterator[None]:
    """Hold the lock of the embedded store; a server has none to give.

    What a change rests on is read again while it is held: that a version is used by nobody before
    it is deleted, that parents are there before a version is made from them, where an alias stands
    before it moves. On a server these lie some milliseconds apart, in which somebody else may come
    in between: MLflow can't compare and set.

    Not to be nested.
    """
    if store.home is None:
        yield
        return
    with FileLock(store.home / "changes.lock", timeout=_LOCK_SECONDS):
        yield
