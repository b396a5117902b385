"""The files of a LoggedModel: listed and copied, and never more of them than is expected."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlparse

from registry.bundles.bundle import list_folder
from registry.errors import BundleError
from registry.store.client import Store
from registry.store.patience import persist

_MAX_LISTED = 200
_MAX_LISTING_BYTES = 2**20
_CHUNK_BYTES = 2**20
_SERVED = "/mlflow-artifacts/artifacts"
_PLAIN_NAME = re.compile(r"[^/\\\0]{1,255}")

Listed = list[tuple[str, bool, int]]  # the last part of the name, whether it is a folder, bytes
Read = Callable[[int], bytes]


def list_files(store: Store, location: str) -> dict[str, int]:
    """Every file at a LoggedModel's location, by its name inside it, with its size in bytes.

    Args:
        store: the store that names the location.
        location: the LoggedModel's ``artifact_location``.

    Raises:
        BundleError: if there is nothing, there are more than 200 things, or one has a name that
            leads elsewhere or is no plain file.
    """
    local = _local_folder(location)
    if local is not None:
        if not local.is_dir():
            raise BundleError(f"the files are gone: there is no folder {local}")
        return list_folder(local)
    repository = _repository(store, location)
    sizes: dict[str, int] = {}
    folders, entries = [""], 0
    while folders:
        folder = folders.pop()
        for name, is_folder, size_bytes in _list_one(repository, folder):
            entries += 1
            if entries > _MAX_LISTED:
                raise BundleError(f"a bundle has at most {_MAX_LISTED} files, found more")
            path = f"{folder}/{name}" if folder else name
            if is_folder:
                folders.append(path)
            else:
                sizes[path] = size_bytes
    return sizes


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
        BundleError: if it is longer or shorter, or is not there.
    """
    local = _local_folder(location)
    if local is not None:
        with _local_file(local / name) as read:
            _write(read, target, name, size_bytes)
        return
    repository = _repository(store, location)
    if not _is_served(repository):
        from mlflow.artifacts import download_artifacts

        arguments = {"dst_path": str(target.parent), "tracking_uri": store.tracking_uri}
        persist(lambda: download_artifacts(f"{location}/{name}", **arguments), f"reading {name}")
        return

    def attempt() -> None:
        with _request(repository.artifact_uri, f"/{quote(name)}", name) as read:
            _write(read, target, name, size_bytes)

    persist(attempt, f"reading {name}")


def _repository(store: Store, location: str) -> Any:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(location, tracking_uri=store.tracking_uri)


def _is_served(repository: Any) -> bool:
    """Whether an MLflow server hands its files out."""
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

    return isinstance(repository, HttpArtifactRepository)


def _list_one(repository: Any, folder: str) -> Listed:
    """What is in one folder; the names were checked."""
    if _is_served(repository):
        listed = persist(lambda: _served_listing(repository.artifact_uri, folder), "listing files")
    else:
        found = persist(lambda: repository.list_artifacts(folder or None), "listing files")
        listed = [(e.path.removeprefix(f"{folder}/"), e.is_dir, e.file_size or 0) for e in found]
    for name, _, _ in listed:
        if name in (".", "..") or not _PLAIN_NAME.fullmatch(name):
            raise BundleError(f"the listing names {name[:200]!r}, which lies somewhere else")
    return listed


def _served_listing(address: str, folder: str) -> Listed:
    host, found, root = address.partition(_SERVED)
    if not found:
        raise BundleError(f"expected an address of an MLflow server's files, found {address!r}")
    path = "/".join(part for part in (root.strip("/"), folder) if part)
    with _request(host, _SERVED, "the listing", params={"path": path}) as read:
        raw = b"".join(_chunks(read, _MAX_LISTING_BYTES + 1))
    if len(raw) > _MAX_LISTING_BYTES:
        raise BundleError(f"a listing has at most {_MAX_LISTING_BYTES} bytes, found more")
    try:
        entries = json.loads(raw).get("files", [])
        return [(str(e["path"]), bool(e["is_dir"]), int(e.get("file_size", 0))) for e in entries]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BundleError(f"the listing can't be read: {str(error)[:200]}") from error


@contextmanager
def _request(host: str, endpoint: str, what: str, **options: Any) -> Iterator[Read]:
    """The body of a server's answer, as it comes."""
    response = import_module("mlflow.utils.rest_utils").http_request(
        import_module("mlflow.utils.credentials").get_default_host_creds(host),
        endpoint,
        "GET",
        stream=True,
        # What is packed could be small here and without end when it is unpacked.
        extra_headers={"Accept-Encoding": "identity"},
        **options,
    )
    with response:
        if response.status_code != 200:
            raise BundleError(f"{what} can't be read: the server says {response.status_code}")
        yield lambda size: bytes(response.raw.read(size, decode_content=False))


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
        for chunk in _chunks(read, size_bytes + 1):
            written += file.write(chunk)
    if written != size_bytes:
        found = "more" if written > size_bytes else str(written)
        raise BundleError(f"{name}: expected {size_bytes} bytes, found {found}")


def _chunks(read: Read, most_bytes: int) -> Iterator[bytes]:
    while most_bytes > 0 and (chunk := read(min(_CHUNK_BYTES, most_bytes))):
        most_bytes -= len(chunk)
        yield chunk


def _local_folder(location: str) -> Path | None:
    parsed = urlparse(location)
    if parsed.scheme == "file":
        return Path(unquote(parsed.path))
    return Path(location) if not parsed.scheme else None
