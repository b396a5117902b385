"""Bundles come back from the store, and every byte of them is checked."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from registry.bundles.bundle import Bundle, read_bundle, read_manifest, require_listing
from registry.bundles.limits import require_expected
from registry.bundles.manifest import MANIFEST_FILE
from registry.bundles.manifest_file import MAX_MANIFEST_BYTES
from registry.errors import BundleError
from registry.store.artifacts import copy_file, list_files
from registry.store.client import Store, error_code
from registry.version import TAG_PREFIX


def fetch_bundle(store: Store, model_id: str, digest: str, into: Path) -> Bundle:
    """Copy a LoggedModel's bundle into an empty folder and check every byte of it.

    Raises:
        BundleError: if it is not what was registered.
    """
    fetch_files(store, model_id, digest, into)
    return read_bundle(into, digest)


def fetch_files(
    store: Store, model_id: str, digest: str, into: Path, names: Collection[str] | None = None
) -> Bundle:
    """Copy ``bundle.json`` and files of a LoggedModel's bundle into an empty folder.

    What ``bundle.json`` doesn't list is not copied. The listing is compared, and sizes with what
    they may be, before anything but ``bundle.json`` is; no file is read further than its listed
    size. Each file's bytes are checked when they are used.

    Args:
        store: an open store.
        model_id: of the LoggedModel.
        digest: SHA-256 of its ``bundle.json``.
        into: an empty folder.
        names: which files, as far as there are such; None for all.

    Raises:
        BundleError: if ``bundle.json`` or the listing is not what was registered, a file is
            larger than it may be, or files may not lie where they do.
    """
    try:
        return _fetch_files(store, model_id, digest, into, names)
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise BundleError(f"its files can't be read: {error}") from error


def _fetch_files(
    store: Store, model_id: str, digest: str, into: Path, names: Collection[str] | None
) -> Bundle:
    model = _logged_model(store, model_id)
    kept, location = model.tags.get(f"{TAG_PREFIX}digest"), str(model.artifact_location)
    if kept != digest:
        raise BundleError(
            f"the digests that the registry keeps for {model_id} differ: the version says "
            f"{digest[:12]}..., the LoggedModel {str(kept)[:12]}...; register the model again"
        )
    sizes = list_files(store, location)
    manifest_bytes = sizes.get(MANIFEST_FILE, 0)
    if not 0 < manifest_bytes <= MAX_MANIFEST_BYTES:
        raise BundleError(
            f"expected {MANIFEST_FILE} with at most {MAX_MANIFEST_BYTES} bytes in {model_id}, "
            f"found {sizes.get(MANIFEST_FILE, 'none')}"
        )

    def fetch(name: str, size_bytes: int) -> None:
        target = into / name
        target.parent.mkdir(exist_ok=True)
        copy_file(store, location, name, target, size_bytes=size_bytes)

    fetch(MANIFEST_FILE, manifest_bytes)
    manifest = read_manifest(into / MANIFEST_FILE, digest)
    require_listing(manifest, sizes)
    require_expected(manifest, names)
    for name, stored in manifest.files.items():
        if names is None or name in names:
            fetch(name, stored.size_bytes)
    return Bundle(into, manifest, digest)


def _logged_model(store: Store, model_id: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return store.client.get_logged_model(model_id)
    except MlflowException as error:
        if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise BundleError(f"its LoggedModel {model_id} was deleted") from error
