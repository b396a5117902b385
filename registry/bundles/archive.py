"""An archive: bundles as they are, byte for byte, in one file that any registry can take in.

It is a zip file without compression: ``archive.json`` tells the versions, each after those that
it is made from, and ``bundles/DIGEST/FILE`` holds their files. The same versions give the same
bytes.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from registry.bundles.bundle import Bundle, read_bundle, read_manifest
from registry.bundles.limits import require_expected
from registry.bundles.manifest import MANIFEST_FILE, Digest, PinnedUri
from registry.bundles.manifest_file import MAX_MANIFEST_BYTES, first_complaint
from registry.bundles.strict_json import dump_strict_json, parse_strict_json
from registry.bundles.zip_end import listing_bytes
from registry.errors import ArchiveError, BundleError
from registry.naming import parse_address

_INDEX = "archive.json"
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can hold
_MAX_INDEX_BYTES = 8 * 2**20
_MAX_MEMBERS = 100_000
_MAX_LISTING_BYTES = 16 * 2**20
_CHUNK_BYTES = 2**20


class ArchivedVersion(BaseModel):
    """One version in an archive.

    Attributes:
        uri: its address in the registry that it comes from.
        digest: SHA-256 of its ``bundle.json``.
        parents: addresses there of what it was made from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: PinnedUri
    digest: Digest
    parents: Annotated[tuple[PinnedUri, ...], Field(max_length=10_001)]


class _Index(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    archive_format: Literal[1] = 1
    versions: Annotated[tuple[ArchivedVersion, ...], Field(min_length=1, max_length=10_000)]

    @model_validator(mode="after")
    def _are_distinct(self) -> _Index:
        if len({one.uri for one in self.versions}) != len(self.versions):
            raise ValueError("a version is named twice")
        return self


@dataclass(frozen=True)
class Archived:
    """A version in an archive, with its bundle.

    Attributes:
        version: what the archive says of it.
        bundle: its files, every byte checked.
    """

    version: ArchivedVersion
    bundle: Bundle


def write_archive(target: IO[bytes], versions: Sequence[Archived]) -> None:
    """Write an archive.

    Args:
        target: open for writing, and empty.
        versions: each after its parents, as far as these are in the archive.
    """
    index = _Index(versions=tuple(one.version for one in versions))
    with zipfile.ZipFile(target, "w") as archive:
        _write(archive, _INDEX, dump_strict_json(index.model_dump(mode="json"), _INDEX))
        written: set[str] = set()
        for one in versions:
            if one.bundle.digest in written:
                continue
            written.add(one.bundle.digest)
            for name in (MANIFEST_FILE, *sorted(one.bundle.manifest.files)):
                raw = (
                    (one.bundle.folder / name).read_bytes()
                    if name == MANIFEST_FILE
                    else one.bundle.read(name)
                )
                _write(archive, f"bundles/{one.bundle.digest}/{name}", raw)


def require_archive(path: Path) -> None:
    """Refuse what is plainly no archive, at once; what `open_archive` checks is not checked.

    Raises:
        ArchiveError: if it is no plain file, or no zip file.
    """
    if not path.is_file():
        raise ArchiveError(f"{path} can't be read: it is not there, or no plain file")
    try:
        _require_short_listing(path)
    except OSError as error:
        raise ArchiveError(f"{path} can't be read: {error.strerror or error}") from error
    except ArchiveError as error:
        raise ArchiveError(f"{path} is refused: {error}") from error


@contextmanager
def open_archive(path: Path, scratch: Path) -> Iterator[list[Archived]]:
    """Read an archive that may come from anyone; every byte is checked before it is used.

    Args:
        path: the file.
        scratch: an empty folder on a disk with room for its bundles.

    Raises:
        ArchiveError: if it is no archive, or what it holds is not what it says.
    """
    require_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path)
            index = _read_index(archive, members)
            expected = {_INDEX}
            found: dict[str, Bundle] = {}
            for one in index.versions:
                if one.digest not in found:
                    folder = scratch / one.digest
                    folder.mkdir()
                    found[one.digest] = _extract(archive, members, one.digest, folder)
                    expected |= {
                        f"bundles/{one.digest}/{name}"
                        for name in (MANIFEST_FILE, *found[one.digest].manifest.files)
                    }
            if extra := members.keys() - expected:
                raise ArchiveError(f"the archive holds {min(extra)!r}, which belongs to no version")
    except (zipfile.BadZipFile, NotImplementedError, EOFError, BundleError) as error:
        raise ArchiveError(f"{path} is refused: {error}") from error
    except OSError as error:
        reason = error.strerror or error
        raise ArchiveError(f"{path} can't be read, or not be unpacked: {reason}") from error
    except ArchiveError as error:
        raise ArchiveError(f"{path} is refused: {error}") from error
    yield [Archived(one, found[one.digest]) for one in index.versions]


def require_consistent(archived: Sequence[Archived]) -> None:
    """Compare what an archive says of its versions with their bundles, before any is used.

    Raises:
        ArchiveError: if they don't go together.
    """
    digests: dict[str, str] = {}
    kinds: dict[str, str] = {}
    for one in archived:
        uri, manifest = one.version.uri, one.bundle.manifest
        name = parse_address(uri).name
        if kinds.setdefault(name, manifest.kind) != manifest.kind:
            raise ArchiveError(f"the archive holds {name!r} as {kinds[name]} and {manifest.kind}")
        if len(one.version.parents) != len(manifest.parents):
            raise ArchiveError(f"{uri} and its bundle name other parents")
        for told, parent in zip(one.version.parents, manifest.parents, strict=True):
            if digests.get(told, parent.digest) != parent.digest:
                raise ArchiveError(
                    f"{uri} was made from another {parent.uri} than the archive holds"
                )
            if manifest.kind == "patched" and told not in digests:
                raise ArchiveError(f"the archive holds {uri} without all of its parts before it")
        digests[uri] = one.bundle.digest


def _write(archive: zipfile.ZipFile, name: str, raw: bytes) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, raw)


def _require_short_listing(path: Path) -> None:
    with path.open("rb") as file:
        found = listing_bytes(file)
    if found > _MAX_LISTING_BYTES:
        raise ArchiveError(
            f"its list of files may have {_MAX_LISTING_BYTES} bytes, found a claim of {found}"
        )


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    listed = archive.infolist()
    if len(listed) > _MAX_MEMBERS:
        raise ArchiveError(f"an archive has at most {_MAX_MEMBERS} files, found {len(listed)}")
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in listed:
        if entry.filename in members:
            raise ArchiveError(f"the archive holds {entry.filename[:200]!r} twice")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise ArchiveError(
                f"{entry.filename[:200]!r} in the archive is compressed or encrypted; archives "
                "hold files as they are"
            )
        members[entry.filename] = entry
    room = path.stat().st_size
    if sum(entry.file_size for entry in listed) > room:  # they would share bytes
        raise ArchiveError(f"its files claim more than the {room} bytes that it has")
    return members


def _read_index(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> _Index:
    if _INDEX not in members:
        raise ArchiveError(f"expected an archive with {_INDEX}, found none in it")
    raw = _read(archive, members[_INDEX], _MAX_INDEX_BYTES)
    try:
        parse_strict_json(raw, _INDEX)
        return _Index.model_validate_json(raw)
    except ValidationError as error:
        raise ArchiveError(f"{_INDEX} is not valid: {first_complaint(error)}") from error


def _extract(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], digest: str, folder: Path
) -> Bundle:
    """A bundle's files, written into an empty folder under the names that its manifest lists."""

    def member(name: str) -> zipfile.ZipInfo:
        found = members.get(f"bundles/{digest}/{name}")
        if found is None:
            raise ArchiveError(f"the archive lacks bundles/{digest}/{name}")
        return found

    raw = _read(archive, member(MANIFEST_FILE), MAX_MANIFEST_BYTES)
    (folder / MANIFEST_FILE).write_bytes(raw)
    manifest = read_manifest(folder / MANIFEST_FILE, digest)
    require_expected(manifest)
    for name, stored in manifest.files.items():
        entry = member(name)
        if entry.file_size != stored.size_bytes:
            raise ArchiveError(
                f"{name}: expected {stored.size_bytes} bytes, the archive has {entry.file_size}"
            )
        (folder / name).parent.mkdir(exist_ok=True)
        with archive.open(entry) as source, (folder / name).open("wb") as target:
            shutil.copyfileobj(source, target, _CHUNK_BYTES)
    return read_bundle(folder, digest)


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most_bytes: int) -> bytes:
    if entry.file_size > most_bytes:
        raise ArchiveError(
            f"{entry.filename!r} may have {most_bytes} bytes, found {entry.file_size}"
        )
    with archive.open(entry) as file:
        return file.read(most_bytes)
