"""Files that an MLflow server hands out and takes, over HTTP and with none of it followed away."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

from registry.errors import BundleError, StoreError
from registry.store.places import SERVED, Served

_MAX_LISTING_BYTES = 2**20
_MAX_REASON_BYTES = 300

Listed = list[tuple[str, bool, int]]  # the last part of the name, whether it is a folder, bytes
Read = Callable[[int], bytes]
_CHUNK_BYTES = 2**20


def list_served(place: Served, folder: str) -> Listed:
    """What is in one folder of a place, its names unchecked.

    Raises:
        BundleError: if there is none, the server leads elsewhere, or gives more than 1 MiB.
        StoreError: if the server refuses.
    """
    path = "/".join(part for part in (place.root, folder) if part)
    with _answer(place, "GET", SERVED, params={"path": path}) as (status, read):
        _require(status == 200, "the listing can't be read", status)
        raw = b"".join(chunks(read, _MAX_LISTING_BYTES + 1))
    if len(raw) > _MAX_LISTING_BYTES:
        raise BundleError(f"a listing has at most {_MAX_LISTING_BYTES} bytes, found more")
    try:
        entries = json.loads(raw).get("files", [])
        return [(str(e["path"]), bool(e["is_dir"]), int(e.get("file_size", 0))) for e in entries]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BundleError(f"the listing can't be read: {str(error)[:200]}") from error


@contextmanager
def read_served(place: Served, name: str) -> Iterator[Read]:
    """The bytes of one file, as they come.

    Raises:
        BundleError: if there is no such file, or the server leads elsewhere.
        StoreError: if the server refuses.
    """
    with _answer(place, "GET", _path(place, name)) as (status, read):
        _require(status == 200, f"{name} can't be read", status)
        yield read


def write_served(place: Served, name: str, file: Path) -> None:
    """Send one file.

    Raises:
        StoreError: if the server refuses, or leads elsewhere.
    """
    with (
        file.open("rb") as data,
        _answer(place, "PUT", _path(place, name), data=data) as (status, read),
    ):
        if status not in (200, 201, 204):
            raw = b"".join(chunks(read, _MAX_REASON_BYTES))
            reason = " ".join(raw.decode(errors="replace").split())
            raise StoreError(f"{name} can't be stored: the server says {_said(status)} {reason}")


def chunks(read: Read, most_bytes: int) -> Iterator[bytes]:
    """What there is to read, in pieces of at most 1 MiB and not beyond ``most_bytes``."""
    while most_bytes > 0 and (chunk := read(min(_CHUNK_BYTES, most_bytes))):
        most_bytes -= len(chunk)
        yield chunk


@contextmanager
def _answer(place: Served, method: str, path: str, **options: Any) -> Iterator[tuple[int, Read]]:
    """The status of a server's answer, and its body as it comes."""
    response = import_module("mlflow.utils.rest_utils").http_request(
        import_module("mlflow.utils.credentials").get_default_host_creds(place.api),
        path,
        method,
        stream=True,
        # Elsewhere would get the request's headers and files, and of some kinds of
        # authentication more than that.
        allow_redirects=False,
        # What is packed could be small here and without end when it is unpacked.
        extra_headers={"Accept-Encoding": "identity", "Content-Type": "application/octet-stream"},
        **options,
    )
    with response:
        yield (
            response.status_code,
            lambda size: bytes(response.raw.read(size, decode_content=False)),
        )


def _path(place: Served, name: str) -> str:
    return "/".join(part for part in (SERVED, place.root, quote(name)) if part)


def _require(is_good: bool, complaint: str, status: int) -> None:
    if not is_good:
        # What is not there, or leads elsewhere, is the bundle's fault; what is refused is not.
        kind = BundleError if status == 404 or 300 <= status < 400 else StoreError
        raise kind(f"{complaint}: the server says {_said(status)}")


def _said(status: int) -> str:
    away = ", which leads to another address and is not followed"
    return f"{status}{away if 300 <= status < 400 else ''}"
