"""Where files may lie: in a folder, with the store's own server, or in a bucket; nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import ParseResult, unquote, urlparse

from registry.errors import BundleError
from registry.store.client import is_http

SERVED = "/mlflow-artifacts/artifacts"
"""Below a server's API, where MLflow lists, hands out and takes files."""

_API = "/api/2.0"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_AT_HOST = r"[\w.-]+@([\w-]+\.)+"
_CLOUD = r"(windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)"
# What MLflow reaches with credentials of the bucket's own, and which hosts these may be sent to
# where the location names one. s3 and gs have theirs from the environment; hdfs and viewfs may
# name any cluster, which gets a user's name or a Kerberos ticket for itself, never a password.
_BUCKETS = {
    "s3": r"[^/]+",
    "gs": r"[^/]+",
    "wasbs": rf"{_AT_HOST}blob\.core\.{_CLOUD}",
    "abfss": rf"{_AT_HOST}dfs\.(core\.{_CLOUD}|fabric\.microsoft\.com)",
    "r2": rf"{_AT_HOST}r2\.cloudflarestorage\.com",
    "b2": rf"{_AT_HOST}backblazeb2\.com",
    "hdfs": r".*",
    "viewfs": r".*",
}


@dataclass(frozen=True)
class Folder:
    """A folder of this machine.

    Attributes:
        path: where it is; it need not be there.
    """

    path: Path


@dataclass(frozen=True)
class Served:
    """A folder that the store's own server hands out.

    Attributes:
        api: the address of the server's API, made of the store's address alone.
        root: the folder's path among the files that it serves.
    """

    api: str
    root: str


@dataclass(frozen=True)
class Bucket:
    """A folder in a bucket, for which MLflow has credentials of its own.

    Attributes:
        uri: its address.
    """

    uri: str


Place = Folder | Served | Bucket


def place_of(tracking_uri: str, location: str) -> Place:
    """Where a location leads that a store names; anybody who can write to the store may set it.

    What opens the store (a token, a password) goes to the store's own server alone.

    Args:
        tracking_uri: the store's address.
        location: of a LoggedModel's or a run's files.

    Returns:
        A folder for a path and for ``file:``; the store's server for ``mlflow-artifacts:``,
        ``http:`` and ``https:``; a bucket for ``s3``, ``gs``, ``wasbs``, ``abfss``, ``r2``,
        ``b2``, ``hdfs`` and ``viewfs``.

    Raises:
        BundleError: if it leads to another server, or is of another kind; nothing was asked for.
    """
    try:
        parsed = urlparse(location)
        if not parsed.scheme:
            return Folder(Path(location))
        if parsed.scheme == "file" and parsed.netloc in ("", "localhost"):
            return Folder(Path(unquote(parsed.path)))
        if parsed.scheme in ("mlflow-artifacts", "http", "https"):
            return _served(tracking_uri, parsed)
    except ValueError as error:  # a port that is no number, a bracket that is not closed
        raise BundleError(f"the location {location[:200]!r} can't be read: {error}") from error
    pattern = _BUCKETS.get(parsed.scheme)
    if pattern is None or not re.fullmatch(pattern, parsed.netloc, re.ASCII):
        raise BundleError(
            f"files at {location[:200]!r} are neither read nor written: they may lie in a folder, "
            f"with the store's own server, or in a bucket ({', '.join(_BUCKETS)}) of a known cloud"
        )
    return Bucket(location)


def _served(tracking_uri: str, parsed: ParseResult) -> Served:
    store = urlparse(tracking_uri)
    whose = f"the store's own server, {_named(store.scheme, store)}"
    if not is_http(tracking_uri):
        whose = "no server, because the store is none"
    # Without a scheme of its own a location is reached as the store is.
    scheme = store.scheme if parsed.scheme == "mlflow-artifacts" else parsed.scheme
    is_relative = parsed.scheme == "mlflow-artifacts" and not parsed.netloc
    if not is_http(tracking_uri) or not (
        is_relative or _origin(scheme, parsed) == _origin(store.scheme, store)
    ):
        raise BundleError(
            f"files at {_named(parsed.scheme, parsed)} are neither read nor written: what is "
            f"served is taken from {whose}"
        )
    api, root = f"{store.path.rstrip('/')}{_API}", parsed.path
    if parsed.scheme != "mlflow-artifacts":
        api, found, root = root.partition(SERVED)
        if not found:
            raise BundleError(f"expected an address of an MLflow server's files, found {api!r}")
    parts = [part for part in root.split("/") if part]
    if any(unquote(part) in (".", "..") for part in parts) or parsed.query or parsed.fragment:
        raise BundleError(f"expected a plain path to a server's files, found {root[:200]!r}")
    # The host is the store's as it was given: programs differ in what they take for a host.
    return Served(f"{store.scheme}://{store.netloc}{api}", "/".join(parts))


def _origin(scheme: str, parsed: ParseResult) -> tuple[str, str | None, int | None]:
    return scheme, parsed.hostname, parsed.port or _DEFAULT_PORTS.get(scheme)


def _named(scheme: str, parsed: ParseResult) -> str:
    """An address without its path, and without a password that may be in it."""
    port = f":{parsed.port}" if parsed.port else ""
    return f"{scheme}://{parsed.hostname or ''}{port}"
