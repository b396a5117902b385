"""The files of a LoggedModel or a run: listed, copied and sent, and never more than is expected."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from registry.bundles.bundle import list_folder
from registry.errors import BundleError
from registry.store.client import Store
from registry.store.patience import persist
from registry.store.places import Folder, Place, Served, place_of
from registry.store.served import Listed, Read, chunks, list_served, read_served, write_served

_MAX_LISTED = 200
_FOLDERS_OF_A_MODEL = 3  # models/m-.../artifacts, which MLflow makes where the store has its files
_PLAIN_NAME = re.compile(r"[^/\\\0]{1,255}")


def list_files(store: Store, location: str) -> dict[str, int]:
    """Every file at a LoggedModel's location, by its name inside it, with its size in bytes.

    Args:
        store: the store that names the location.
        location: the LoggedModel's ``artifact_location``.

    Raises:
        BundleError: if there is nothing, there are more than 200 things, one has a name that
            leads elsewhere or is no plain file, or files may not lie there (`place_of`).
    """
    place = place_of(store.tracking_uri, location)
    if isinstance(place, Folder):
        if not place.path.is_dir():
            raise BundleError(f"the files are gone: there is no folder {place.path}")
        return list_folder(place.path)
    sizes: dict[str, int] = {}
    folders, entries = [""], 0
    while folders:
        folder = folders.pop()
        for name, is_folder, size_bytes in _list_one(store, place, location, folder):
            entries += 1
            if entries > _MAX_LISTED:
                raise BundleError(f"a bundle has at most {_MAX_LISTED} files, found more")
            path = f"{folder}/{name}" if folder else name
            if is_folder:
                folders.append(path)
            else:
                sizes[path] = size_bytes
    return sizes


def list_names(store: Store, location: str, folder: str) -> list[str]:
    """The names of the files in one folder at a location, sorted; none if it is not there.

    Args:
        store: the store that names the location.
        location: of a run's or a LoggedModel's files.
        folder: inside it.

    Raises:
        BundleError: as `list_files`, but for the number of files.
    """
    listed = _list_one(store, place_of(store.tracking_uri, location), location, folder)
    return sorted(name for name, is_folder, _ in listed if not is_folder)


def copy_file(store: Store, location: str, name: str, target: Path, *, size_bytes: int) -> None:
    """Copy one file of a LoggedModel, and stop where it is longer than it was said to be.

    Stores other than a folder and an MLflow server (a bucket) are trusted with the sizes that
    they list.

    Args:
        store: the store that names the location.
        location: the LoggedModel's ``artifact_location``.
        name: inside the location.
        target: the file to write.
        size_bytes: how long it is.

    Raises:
        BundleError: if it is longer or shorter, is not there, or may not lie there (`place_of`).
    """
    place = place_of(store.tracking_uri, location)
    if isinstance(place, Folder):
        with _local_file(place.path / name) as read:
            _write(read, target, name, size_bytes)
    elif isinstance(place, Served):

        def attempt() -> None:
            with read_served(place, name) as read:
                _write(read, target, name, size_bytes)

        persist(attempt, f"reading {name}")
    else:
        from mlflow.artifacts import download_artifacts

        arguments = {"dst_path": str(target.parent), "tracking_uri": store.tracking_uri}
        persist(lambda: download_artifacts(f"{location}/{name}", **arguments), f"reading {name}")


def upload_folder(store: Store, location: str, folder: Path) -> None:
    """Send every file of a folder, under the name that it has there.

    Where they go to a folder of this machine, the disk has them when this returns.

    Args:
        store: the store that names the location.
        location: of a LoggedModel's files.
        folder: as `registry.bundles.bundle.list_folder` takes it.

    Raises:
        BundleError: if files may not lie there (`place_of`); nothing is sent.
        StoreError: if the server refuses a file.
    """
    place = place_of(store.tracking_uri, location)
    if isinstance(place, Served):
        for name in list_folder(folder):
            _send(place, name, folder / name)
        return
    repository = _repository(store, location)
    persist(lambda: repository.log_artifacts(str(folder)), "writing files")
    if isinstance(place, Folder):
        _flush(place.path, store.home)


def upload_file(store: Store, location: str, file: Path, folder: str = "") -> None:
    """Send one file.

    Args:
        store: the store that names the location.
        location: of a run's files.
        file: keeps its name.
        folder: inside the location.

    Raises:
        BundleError, StoreError: as `upload_folder`.
    """
    place = place_of(store.tracking_uri, location)
    if isinstance(place, Served):
        _send(place, f"{folder}/{file.name}" if folder else file.name, file)
        return
    repository = _repository(store, location)
    persist(lambda: repository.log_artifact(str(file), folder or None), f"writing {file.name}")


def _flush(folder: Path, home: Path | None) -> None:
    """Have the disk keep a folder's files, and the names by which they are found.

    The database is flushed at each commit; without this a power cut could leave a version whose
    files are empty.
    """
    above = folder.parents
    depth = 1 + above.index(home) if home in above else _FOLDERS_OF_A_MODEL
    for path in (*folder.rglob("*"), folder, *above[:depth]):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _send(place: Served, name: str, file: Path) -> None:
    persist(lambda: write_served(place, name, file), f"writing {name}")


def _repository(store: Store, location: str) -> Any:
    """MLflow's access to a folder or a bucket."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(location, tracking_uri=store.tracking_uri)


def _list_one(store: Store, place: Place, location: str, folder: str) -> Listed:
    """What is in one folder; the names were checked."""
    if isinstance(place, Served):
        listed = persist(lambda: list_served(place, folder), "listing files")
    else:
        repository = _repository(store, location)
        found = persist(lambda: repository.list_artifacts(folder or None), "listing files")
        listed = [(e.path.removeprefix(f"{folder}/"), e.is_dir, e.file_size or 0) for e in found]
    for name, _, _ in listed:
        if name in (".", "..") or not _PLAIN_NAME.fullmatch(name):
            raise BundleError(f"the listing names {name[:200]!r}, which lies somewhere else")
    return listed


@contextmanager
def _local_file(path: Path) -> Iterator[Read]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BundleError(f"{path.name!r} in the bundle is no plain file")
        yield file.read


def _write(read: Read, target: Path, name: str, size_bytes: int) -> None:
    written = 0
    with target.open("wb") as file:
        for chunk in chunks(read, size_bytes + 1):
            written += file.write(chunk)
    if written != size_bytes:
        found = "more" if written > size_bytes else str(written)
        raise BundleError(f"{name}: expected {size_bytes} bytes, found {found}")
