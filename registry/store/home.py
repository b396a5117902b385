"""Where the registry lives: a folder of its own, or an MLflow server."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from registry.errors import StoreError

_LOCK_SECONDS = 120
global_address_lock = threading.RLock()
"""Held while ``MLFLOW_TRACKING_URI`` is read, or is another one for a moment."""
_MARKER = "store-is-ready"


@dataclass(frozen=True)
class Location:
    """Which store to open.

    Attributes:
        tracking_uri: what MLflow calls it: an absolute sqlite address, or a server's.
        home: the folder of the embedded store; None for a store that others keep.
    """

    tracking_uri: str
    home: Path | None

    @property
    def database(self) -> Path | None:
        """The embedded store's; None for a store that others keep."""
        return None if self.home is None else self.home / "mlflow.db"

    @property
    def artifact_uri(self) -> str | None:
        """Where the embedded store puts files; None leaves it to the server."""
        return None if self.home is None else (self.home / "artifacts").as_uri()


def locate(home: Path | str | None = None) -> Location:
    """Decide where the registry lives.

    Args:
        home: a folder; None takes ``MLFLOW_TRACKING_URI`` if that is set, else the folder
            ``PATCHBAY_HOME``, else ``./.patchbay``.

    Raises:
        StoreError: if the folder's name can't be part of a database address, or names a user's
            folder who is unknown.

    Example:
        >>> locate("/srv/models").tracking_uri
        'sqlite:////srv/models/mlflow.db'
    """
    with global_address_lock:
        server = os.environ.get("MLFLOW_TRACKING_URI")
    if home is None and server:
        return Location(server, None)
    chosen = home or os.environ.get("PATCHBAY_HOME") or ".patchbay"
    try:
        folder = Path(chosen).expanduser().absolute()
    except RuntimeError as error:
        raise StoreError(f"expected a folder, found {str(chosen)[:200]!r}: {error}") from error
    if set("?#%") & set(str(folder)):
        raise StoreError(f"the home folder's path may hold no '?', '#' or '%', found {folder}")
    return Location(f"sqlite:///{folder}/mlflow.db", folder)


def file_identity(path: Path) -> tuple[int, int] | None:
    """A file's device and inode; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def require_no_models(database: Path) -> None:
    """Refuse to make a database anew where the files of models still are.

    Raises:
        StoreError: if there are such; the message says what to do.
    """
    models = database.parent / "artifacts" / "models"
    found = sum(1 for _ in models.iterdir()) if models.is_dir() else 0
    if found:
        raise StoreError(
            f"the database {database} is gone or empty, but {models} holds the files of {found} "
            "models, which are worth nothing without it: put it back from a copy; or move that "
            "folder away to begin anew"
        )


@contextmanager
def creation_lock(location: Location) -> Iterator[None]:
    """Let one process at a time create the embedded store; a store that is there needs no lock.

    Raises:
        StoreError: if the folder can't be made or written, or another process holds the lock
            for two minutes.
    """
    home = location.home
    if home is None or ((home / _MARKER).exists() and (home / "mlflow.db").exists()):
        yield
        return
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / "creation.lock", timeout=_LOCK_SECONDS)
        lock.acquire()
    except Timeout as error:
        raise StoreError(
            f"another process has been creating the store in {home} for {_LOCK_SECONDS} s; "
            "try again, or end that process"
        ) from error
    except OSError as error:
        raise StoreError(
            f"expected a home folder that can be written at {home}, found: "
            f"{error.strerror or error}; set PATCHBAY_HOME to another folder"
        ) from error
    try:
        yield
        (home / _MARKER).touch()
    except OSError as error:
        raise StoreError(f"the store in {home} can't be written: {error.strerror}") from error
    finally:
        lock.release()
