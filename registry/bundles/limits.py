"""How large a bundle's files may be: told by its manifest, before any of them is copied."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from registry.bundles.manifest import WEIGHTS_FILE, AnyManifest, PatchedModelManifest
from registry.bundles.skeleton import most_weights_bytes
from registry.errors import BundleError

MAX_JSON_BYTES = 64 * 2**20
MAX_PICTURE_BYTES = 32 * 2**20
MAX_WEIGHTS_BYTES = 8 * 2**30
"""Of any architecture: which one it is says the bundle, and whoever wrote it."""


def require_small(sizes: Mapping[str, int]) -> None:
    """Refuse files that are larger than a bundle takes.

    Args:
        sizes: file name to bytes; JSON and weights by their names, all others as pictures.

    Raises:
        BundleError: with the first file that is too large, and the limit.
    """
    for name, size_bytes in sizes.items():
        _require_at_most(_limit(name), name, size_bytes, "a bundle takes")


def require_expected(manifest: AnyManifest, names: Collection[str] | None = None) -> None:
    """Refuse files that are larger than a bundle takes, and weights that no tensor needs.

    Args:
        manifest: tells the sizes.
        names: which files are looked at, as far as there are such; None for all.

    Raises:
        BundleError: as `require_small`; also if there are weights and the manifest's
            architecture can't be built.
    """
    sizes = {
        name: stored.size_bytes
        for name, stored in manifest.files.items()
        if names is None or name in names
    }
    require_small(sizes)
    if WEIGHTS_FILE not in sizes:
        return
    if isinstance(manifest, PatchedModelManifest):
        raise BundleError(f"a patched model has no weights of its own, found {WEIGHTS_FILE}")
    needed = most_weights_bytes(manifest)
    _require_at_most(needed, WEIGHTS_FILE, sizes[WEIGHTS_FILE], "its architecture needs")


def _limit(name: str) -> int:
    if name == WEIGHTS_FILE:
        return MAX_WEIGHTS_BYTES
    return MAX_JSON_BYTES if name.endswith(".json") else MAX_PICTURE_BYTES


def _require_at_most(limit: int, name: str, size_bytes: int, who: str) -> None:
    if size_bytes > limit:
        raise BundleError(f"{name} has {size_bytes} bytes; {who} at most {limit}")
