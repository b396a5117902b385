"""One process at a time changes what others may be relying on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from filelock import FileLock, Timeout

from registry.errors import StoreError
from registry.store.client import Store

_LOCK_SECONDS = 120


@contextmanager
def exclusive(store: Store, what: Literal["changes", "imports"] = "changes") -> Iterator[None]:
    """Hold a lock of the home; a store that is opened by its address has none.

    What a change rests on is read again while it is held: that a version is used by nobody before
    it is deleted, that parents are there before a version is made from them, where an alias stands
    before it moves. Elsewhere these lie some milliseconds apart, in which somebody else may come
    in between: MLflow can't compare and set.

    Not to be nested.

    Args:
        store: whose.
        what: others do not hold it for other things.

    Raises:
        StoreError: if another process holds it for two minutes.
    """
    if store.home is None:
        yield
        return
    path = store.home / f"{what}.lock"
    lock = FileLock(path, timeout=_LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise StoreError(
            f"another process has held {path} for {_LOCK_SECONDS} s; nothing was changed: try "
            "again, or end that process"
        ) from error
    try:
        yield
    finally:
        lock.release()
