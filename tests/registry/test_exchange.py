"""Versions leave one registry and enter another: the same bytes, the same answers, or a refusal."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from modularizer.classifier import predict
from registry.bundles.archive import open_archive
from registry.errors import ArchiveError, NotFoundError, RegistryError
from registry.registry import Registry
from tests.registry.conftest import make_decomposition, make_patched, make_trained


@dataclass(frozen=True)
class Exported:
    registry: Registry
    patched: str
    path: Path


@pytest.fixture(scope="module")
def exported(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    strong = make_trained("leaving-strong")
    strong_uri = registry.add_classifier(strong)
    for seed in (1, 2):  # so that numbers differ from those where it goes to
        weak_uri = registry.add_classifier(make_trained("leaving-weak", kind="weak", seed=seed))
    record = make_decomposition("leaving-strong", strong.classifier)
    uris = registry.add_decomposition(record, strong_uri=strong_uri)
    patched = registry.add_patched(make_patched("leaving", weak_uri, *uris[:2]))
    path = tmp_path_factory.mktemp("exported") / "leaving.patchbay"
    registry.exchange.export_archive(patched, path)
    return Exported(registry, patched, path)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A registry that knows nothing of the first."""
    return Registry.open(tmp_path_factory.mktemp("other-home"))


def test_a_patched_model_arrives_with_all_it_needs(
    exported: Exported, other: Registry, images: NDArray[np.uint8]
) -> None:
    imported = other.exchange.import_archive(exported.path)
    assert [(one.source, one.uri, one.is_new) for one in imported] == [
        ("models:/leaving-weak/2", "models:/leaving-weak/1", True),
        ("models:/leaving-strong.zero/1", "models:/leaving-strong.zero/1", True),
        (
            "models:/leaving-strong.traffic~20light/1",
            "models:/leaving-strong.traffic~20light/1",
            True,
        ),
        ("models:/leaving/1", "models:/leaving/1", True),
    ]
    for one in imported:
        assert other.find(one.uri).digest == one.digest == exported.registry.find(one.source).digest
    here = exported.registry.load_patched(exported.patched)
    there = other.load_patched("models:/leaving/1")
    np.testing.assert_array_equal(predict(there, images), predict(here, images))
    assert other.find("models:/leaving/1").parents[0] == "models:/leaving-weak/1"
    assert [v.uri for v in other.used_by("models:/leaving-weak/1")] == ["models:/leaving/1"]
    assert other.check(clear=False).broken == ()


def test_it_arrives_once(exported: Exported, other: Registry) -> None:
    other.exchange.import_archive(exported.path)
    before = len(other.versions())
    again = other.exchange.import_archive(exported.path)
    assert not any(one.is_new for one in again)
    assert len(other.versions()) == before


def test_what_is_imported_can_be_exported_again(
    exported: Exported, other: Registry, tmp_path: Path
) -> None:
    first = {one.digest for one in other.exchange.import_archive(exported.path)}
    second = other.exchange.export_archive("models:/leaving/1", tmp_path / "again")
    assert {one.digest for one in second} == first


def test_the_same_version_gives_the_same_bytes(exported: Exported, tmp_path: Path) -> None:
    exported.registry.exchange.export_archive(exported.patched, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == exported.path.read_bytes()


def test_a_model_of_another_registry_is_no_user_of_a_namesake(
    exported: Exported, tmp_path: Path
) -> None:
    elsewhere = Registry.open(tmp_path / "home")
    own = elsewhere.add_classifier(make_trained("leaving-strong", seed=9))
    elsewhere.exchange.import_archive(exported.path)
    (module,) = (v for v in elsewhere.versions("class_module") if v.name.endswith("zero"))
    assert module.parents == (own,)  # the address that its strong model had where it comes from
    assert elsewhere.used_by(own) == []


def test_two_imports_at_once_make_nothing_twice(exported: Exported, tmp_path: Path) -> None:
    homes = [Registry.open(tmp_path) for _ in range(2)]
    with ThreadPoolExecutor() as threads:
        found = list(threads.map(lambda one: one.exchange.import_archive(exported.path), homes))
    assert [one.uri for one in found[0]] == [one.uri for one in found[1]]
    assert len(homes[0].versions()) == 4


def test_an_export_replaces_no_device_and_goes_where_a_link_leads(
    exported: Exported, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArchiveError, match="is no plain file"):
        exported.registry.exchange.export_archive(exported.patched, tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link").symlink_to(tmp_path / "behind")
    exported.registry.exchange.export_archive(exported.patched, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "behind").read_bytes() == exported.path.read_bytes()


def test_a_version_whose_files_are_lost_is_registered_once_more(
    exported: Exported, tmp_path: Path
) -> None:
    elsewhere = Registry.open(tmp_path)
    first = elsewhere.exchange.import_archive(exported.path)
    weak = elsewhere.find(first[0].uri)  # its copy in the cache stays
    (lost,) = (tmp_path / "artifacts" / "models" / weak.model_id).rglob("weights.safetensors")
    lost.unlink()
    again = elsewhere.exchange.import_archive(exported.path)
    assert [one.is_new for one in again] == [True, False, False, True]
    assert elsewhere.find(again[-1].uri).parents[0] == again[0].uri == "models:/leaving-weak/2"
    broken = {one.uri for one in elsewhere.check(clear=False).broken}
    assert broken == {first[0].uri, first[-1].uri}


def test_what_leaves_is_read_from_the_store_and_not_from_a_bad_copy(
    registry: Registry, home: Path, tmp_path: Path
) -> None:
    uri = registry.add_classifier(make_trained("copied", kind="weak"))
    registry.load(uri)
    copy = home / "cache" / "bundles" / registry.find(uri).digest / "history.json"
    copy.write_bytes(bytes(reversed(copy.read_bytes())))  # loading does not read it
    registry.load(uri)
    (told,) = registry.exchange.export_archive(uri, tmp_path / "archive")
    (taken,) = Registry.open(tmp_path / "home").exchange.import_archive(tmp_path / "archive")
    assert taken.digest == told.digest


def test_strong_models_go_along_if_they_are_asked_for(exported: Exported, tmp_path: Path) -> None:
    told = exported.registry.exchange.export_archive(
        exported.patched, tmp_path / "with", with_strong=True
    )
    assert "models:/leaving-strong/1" in {one.source for one in told}
    elsewhere = Registry.open(tmp_path / "home")
    elsewhere.exchange.import_archive(tmp_path / "with")
    users = elsewhere.used_by("models:/leaving-strong/1")
    assert {v.kind for v in users} == {"class_module"}


def test_a_name_of_another_kind_is_refused_before_anything_is_registered(
    exported: Exported, tmp_path: Path
) -> None:
    elsewhere = Registry.open(tmp_path / "home")
    elsewhere.add_classifier(make_trained("leaving"))
    with pytest.raises(RegistryError, match="belongs to models of kind strong"):
        elsewhere.exchange.import_archive(exported.path)
    assert [v.name for v in elsewhere.versions()] == ["leaving"]


def test_what_is_not_there_can_not_be_exported(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        exported.registry.exchange.export_archive("models:/nowhere/1", tmp_path / "x")
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveError, match="can't be written"):
        exported.registry.exchange.export_archive(exported.patched, tmp_path / "file" / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


Change = Callable[[dict[str, bytes]], None]


def rewritten(
    source: Path, target: Path, change: Change, compression: int = zipfile.ZIP_STORED
) -> Path:
    """An archive as a stranger would write it."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return target


def index_of(members: dict[str, bytes]) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = json.loads(members["archive.json"])
    return found


def change_index(change: Callable[[dict[str, list[dict[str, object]]]], object]) -> Change:
    def apply(members: dict[str, bytes]) -> None:
        index = index_of(members)
        change(index)
        members["archive.json"] = json.dumps(index).encode()

    return apply


def first_named(members: dict[str, bytes], end: str) -> str:
    return next(name for name in members if name.endswith(end))


def changed_byte(members: dict[str, bytes]) -> None:
    name = first_named(members, "weights.safetensors")
    members[name] = members[name][:-1] + bytes([members[name][-1] ^ 1])


def longer(members: dict[str, bytes]) -> None:
    members[first_named(members, "weights.safetensors")] += b"x"


def without(end: str) -> Change:
    def apply(members: dict[str, bytes]) -> None:
        del members[first_named(members, end)]

    return apply


def with_more(name: str) -> Change:
    return lambda members: members.update({name: b"x"})


def other_weak(index: dict[str, list[dict[str, object]]]) -> None:
    patched = index["versions"][-1]
    parents = patched["parents"]
    assert isinstance(parents, list)
    patched["parents"] = [parents[1], *parents[1:]]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (changed_byte, "weights.safetensors was changed"),
        (longer, "weights.safetensors: expected .* bytes"),
        (without("weights.safetensors"), "lacks bundles/"),
        (without("bundle.json"), "lacks bundles/"),
        (without("archive.json"), "expected an archive with archive.json"),
        (with_more("../../etc/passwd"), "'../../etc/passwd', which belongs to no version"),
        (with_more("/etc/passwd"), "'/etc/passwd', which belongs to no version"),
        (lambda m: m.update({"archive.json": b"[" * 100_000}), "can't be read as JSON"),
        (lambda m: m.update({"archive.json": b'{"a": 1, "a": 2}'}), "twice"),
        (lambda m: m.update({"archive.json": b"{}"}), "versions"),
        (lambda m: m.update({"archive.json": b" " * (8 * 2**20 + 1)}), "may have"),
        (change_index(lambda i: i["versions"].append(i["versions"][0])), "named twice"),
        (change_index(lambda i: i["versions"][0].update(digest="../../x")), "digest"),
        (change_index(lambda i: i["versions"][0].update(uri="models:/../x/1")), "uri"),
        (change_index(lambda i: i["versions"].pop(0)), "belongs to no version"),
        (change_index(other_weak), "was made from another"),
        (change_index(lambda i: i["versions"][-1].update(parents=[])), "name other parents"),
        (change_index(lambda i: i["versions"].reverse()), "without all of its parts before it"),
    ],
)
def test_a_hostile_archive_is_refused_and_nothing_of_it_is_used(
    exported: Exported, tmp_path: Path, other: Registry, change: Change, complaint: str
) -> None:
    path = rewritten(exported.path, tmp_path / "hostile", change)
    for version in other.versions():  # so that nothing counts as there already
        if version.kind == "patched":
            other.delete(version.uri)
    with pytest.raises(RegistryError, match=complaint):
        other.exchange.import_archive(path)
    assert other.versions("patched") == []
    assert other.check(clear=False).broken == ()


@pytest.mark.parametrize("comment", [b"", b"a comment", b"PK\5\6" * 9])
def test_a_swarm_of_members_is_refused_before_it_is_listed(
    tmp_path: Path, other: Registry, comment: bytes
) -> None:
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        for number in range(500):
            archive.writestr(f"{number:05}", b"")
        archive.comment = comment
    raw = (tmp_path / "archive").read_bytes()
    place = raw.index(b"PK\1\2")
    end = len(raw) - len(comment) - 22
    swarm = raw[place:end] * 700  # more than Python would count, as few bytes as possible
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(swarm), place)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, place + len(swarm), 1)
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 2**32 - 1, 2**32 - 1, len(comment))
    with (tmp_path / "archive").open("wb") as file:
        file.write(raw[:place] + swarm + record + locator + last + comment)
    complaint = "its list of files may have" if comment[:2] != b"PK" else "is refused"
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match=complaint):
            other.exchange.import_archive(tmp_path / "archive")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(swarm)


def test_no_pipe_is_waited_for(tmp_path: Path, other: Registry) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArchiveError, match="no plain file"):
        other.exchange.import_archive(tmp_path / "pipe")


def test_a_compressed_archive_is_refused_before_it_is_unpacked(
    exported: Exported, tmp_path: Path, other: Registry
) -> None:
    path = rewritten(exported.path, tmp_path / "packed", lambda m: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(ArchiveError, match="compressed or encrypted"):
        other.exchange.import_archive(path)


@pytest.mark.parametrize(
    ("name", "size_bytes", "complaint"),
    [
        ("history.json", 64 * 2**20 + 1, "a bundle takes at most 67108864"),
        ("pictures/a.png", 32 * 2**20 + 1, "a bundle takes at most 33554432"),
        ("weights.safetensors", 10 * 2**20, "its architecture needs at most"),
    ],
)
def test_files_that_no_bundle_needs_are_not_unpacked(
    exported: Exported, tmp_path: Path, name: str, size_bytes: int, complaint: str
) -> None:
    def grow(members: dict[str, bytes]) -> None:
        index = index_of(members)
        before = str(index["versions"][0]["digest"])
        plain = json.loads(members[f"bundles/{before}/bundle.json"])
        members[f"bundles/{before}/{name}"] = raw = bytes(size_bytes)
        stored = {"sha256": hashlib.sha256(raw).hexdigest(), "size_bytes": size_bytes}
        plain["files"][name] = stored
        members[f"bundles/{before}/bundle.json"] = raw = json.dumps(plain).encode()
        index["versions"][0]["digest"] = hashlib.sha256(raw).hexdigest()
        members["archive.json"] = json.dumps(index).encode()
        for member in [one for one in members if before in one]:
            after = member.replace(before, str(index["versions"][0]["digest"]))
            members[after] = members.pop(member)

    path, scratch = rewritten(exported.path, tmp_path / "grown", grow), tmp_path / "scratch"
    scratch.mkdir()
    with (
        pytest.raises(ArchiveError, match=f"{name} has {size_bytes} bytes; {complaint}"),
        open_archive(path, scratch),
    ):
        pass
    assert [one.name for one in scratch.rglob("*") if one.is_file()] == ["bundle.json"]


def test_a_name_twice_in_an_archive_is_refused(
    exported: Exported, tmp_path: Path, other: Registry
) -> None:
    (tmp_path / "twice").write_bytes(exported.path.read_bytes())
    with (
        zipfile.ZipFile(tmp_path / "twice", "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("archive.json", b"{}")
    with pytest.raises(ArchiveError, match=r"holds 'archive\.json' twice"):
        other.exchange.import_archive(tmp_path / "twice")


def test_members_that_share_bytes_are_refused(
    exported: Exported, tmp_path: Path, other: Registry
) -> None:
    raw = exported.path.read_bytes()
    grown = raw
    with zipfile.ZipFile(exported.path) as archive:
        for entry in archive.infolist():  # each claims the size of the whole file
            size = entry.file_size.to_bytes(4, "little")
            grown = grown.replace(size * 2, len(raw).to_bytes(4, "little") * 2)
    (tmp_path / "overlapping").write_bytes(grown)
    with pytest.raises(ArchiveError, match="claim more than"):
        other.exchange.import_archive(tmp_path / "overlapping")


@pytest.mark.parametrize("raw", [b"", b"no zip file", b"PK\x03\x04", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_archive_is_one_clear_error(tmp_path: Path, other: Registry, raw: bytes) -> None:
    (tmp_path / "file").write_bytes(raw)
    with pytest.raises(ArchiveError, match="is refused"):
        other.exchange.import_archive(tmp_path / "file")


def test_a_cut_archive_is_refused(exported: Exported, tmp_path: Path, other: Registry) -> None:
    raw = exported.path.read_bytes()
    for kept in (len(raw) // 2, len(raw) - 10):
        (tmp_path / "cut").write_bytes(raw[:kept])
        with pytest.raises(ArchiveError, match="is refused"):
            other.exchange.import_archive(tmp_path / "cut")
