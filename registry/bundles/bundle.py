"""A bundle: a folder with ``bundle.json`` and the files it vouches for, and nothing else."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.bundles.limits import require_small
from registry.bundles.manifest import MANIFEST_FILE, AnyManifest, StoredFile
from registry.bundles.manifest_file import MAX_MANIFEST_BYTES, dump_manifest, parse_manifest
from registry.errors import BundleError

_CHUNK_BYTES = 2**20
_MAX_ENTRIES = 200


@dataclass(frozen=True)
class Bundle:
    """A bundle whose listing, sizes and digests were checked.

    Attributes:
        folder: where it lies.
        manifest: what its ``bundle.json`` says.
        digest: SHA-256 of ``bundle.json``; with it every file is pinned.
    """

    folder: Path
    manifest: AnyManifest
    digest: str

    def read(self, name: str) -> bytes:
        """The bytes of one of its files, checked once more as they are read.

        Raises:
            BundleError: if there is no such file, or it was changed.
        """
        stored = self.manifest.files.get(name)
        if stored is None:
            raise BundleError(f"the bundle has no file {name!r}; it has {_listed(self.manifest)}")
        with (self.folder / name).open("rb") as file:
            raw = file.read(stored.size_bytes + 1)
        _require_equal(name, stored, len(raw), hashlib.sha256(raw).hexdigest())
        return raw


def write_bundle(folder: Path, manifest: AnyManifest, contents: Mapping[str, bytes]) -> Bundle:
    """Write a bundle into an empty folder.

    Args:
        folder: exists and is empty.
        manifest: without its ``files``, which are filled in here.
        contents: file name, with at most one folder in it, to bytes.

    Raises:
        BundleError: if a name or a value is not a legal one, or a file is larger than a bundle
            takes (`registry.bundles.limits`).
    """
    require_small({name: len(raw) for name, raw in contents.items()})
    files = {
        name: StoredFile(sha256=hashlib.sha256(raw).hexdigest(), size_bytes=len(raw))
        for name, raw in contents.items()
    }
    raw_manifest = dump_manifest(manifest.model_copy(update={"files": files}))
    complete = parse_manifest(raw_manifest)
    for name, raw in (*contents.items(), (MANIFEST_FILE, raw_manifest)):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(raw)
    return Bundle(folder, complete, hashlib.sha256(raw_manifest).hexdigest())


def read_bundle(folder: Path, digest: str) -> Bundle:
    """Check a folder against the digest that the registry keeps for it.

    Raises:
        BundleError: if ``bundle.json`` or another file was changed, is missing or too large, a
            file is there that isn't listed, or something is no plain file (a symlink, a pipe).
    """
    bundle = open_bundle(folder, digest)
    for name, stored in bundle.manifest.files.items():
        _require_equal(name, stored, stored.size_bytes, _file_digest(folder / name))
    return bundle


def open_bundle(folder: Path, digest: str) -> Bundle:
    """The same, but for the bytes of files other than ``bundle.json``; `Bundle.read` checks them.

    Raises:
        BundleError: if ``bundle.json`` was changed, or the listing or a size is another.
    """
    sizes = list_folder(folder)
    if MANIFEST_FILE not in sizes:
        raise BundleError(f"expected a bundle with {MANIFEST_FILE}, found {_some(sizes)}")
    manifest = read_manifest(folder / MANIFEST_FILE, digest)
    require_listing(manifest, sizes)
    return Bundle(folder, manifest, digest)


def read_manifest(path: Path, digest: str) -> AnyManifest:
    """Read ``bundle.json`` if its SHA-256 is ``digest``.

    Raises:
        BundleError: if it is not, or what it says is not valid.
    """
    with path.open("rb") as file:
        raw = file.read(MAX_MANIFEST_BYTES + 1)
    found = hashlib.sha256(raw).hexdigest()
    if found != digest:
        raise BundleError(
            f"{MANIFEST_FILE} was changed after it was registered: expected SHA-256 "
            f"{digest[:12]}..., found {found[:12]}...; register the model again"
        )
    return parse_manifest(raw)


def require_listing(manifest: AnyManifest, sizes: Mapping[str, int]) -> None:
    """Compare the files that are there with those that ``bundle.json`` lists.

    Args:
        manifest: the bundle's.
        sizes: file name to bytes, ``bundle.json`` included.

    Raises:
        BundleError: if one is missing, one is too many, or a size differs.
    """
    expected = {*manifest.files, MANIFEST_FILE}
    if missing := expected - sizes.keys():
        raise BundleError(f"the bundle lacks {_some(missing)}; register the model again")
    if extra := sizes.keys() - expected:
        raise BundleError(
            f"the bundle holds {_some(extra)}, which its {MANIFEST_FILE} doesn't list; "
            "somebody else put it there"
        )
    for name, stored in manifest.files.items():
        if sizes[name] != stored.size_bytes:
            raise BundleError(f"{name}: expected {stored.size_bytes} bytes, found {sizes[name]}")


def list_folder(folder: Path) -> dict[str, int]:
    """Every file below a folder, by its name inside it, with its size in bytes.

    Raises:
        BundleError: if something there is neither a plain file nor a folder, or there are
            more than 200 things.
    """
    sizes: dict[str, int] = {}
    open_folders, entries = [folder], 0
    while open_folders:
        with os.scandir(open_folders.pop()) as listing:
            for entry in listing:
                entries += 1
                if entries > _MAX_ENTRIES:
                    raise BundleError(f"a bundle has at most {_MAX_ENTRIES} files, found more")
                name = Path(entry.path).relative_to(folder).as_posix()
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    open_folders.append(Path(entry.path))
                elif stat.S_ISREG(found.st_mode):
                    sizes[name] = found.st_size
                else:
                    kind = "a symbolic link" if entry.is_symlink() else "no plain file"
                    raise BundleError(f"{name!r} in the bundle is {kind}; bundles hold plain files")
    return sizes


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _require_equal(name: str, stored: StoredFile, size_bytes: int, sha256: str) -> None:
    if (size_bytes, sha256) != (stored.size_bytes, stored.sha256):
        raise BundleError(
            f"{name} was changed after it was registered: expected {stored.size_bytes} bytes with "
            f"SHA-256 {stored.sha256[:12]}..., found {size_bytes} with {sha256[:12]}...; "
            "register the model again"
        )


def _listed(manifest: AnyManifest) -> str:
    return _some(manifest.files)


def _some(names: object) -> str:
    ordered = sorted(names)  # type: ignore[call-overload]
    shown = ", ".join(repr(name) for name in ordered[:5])
    return f"{shown} and {len(ordered) - 5} more" if len(ordered) > 5 else shown or "nothing"
