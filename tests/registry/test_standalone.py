from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.patched import PatchedClassifier
from modularizer.classifier import Classifier, predict
from registry.errors import AddressError, ArchiveError, BundleError, NotFoundError
from registry.registry import Registry
from registry.standalone import Archive, load_archive
from tests.registry.conftest import Registered

T = TypeVar("T")


class Taken:
    """Keeps networks by digest, and notes what had to be loaded."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.loaded: list[tuple[str, int]] = []

    def take(
        self, digest: str, name: str, size_bytes: Callable[[], int], load: Callable[[], T]
    ) -> T:
        if digest not in self.kept:
            self.loaded.append((name, size_bytes()))
            self.kept[digest] = load()
        found: T = self.kept[digest]
        return found


@pytest.fixture(scope="module")
def path(
    registry: Registry, registered: Registered, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("standalone") / "model.patchbay"
    registry.exchange.export_archive(registered.patched_uri, path)
    return path


def test_an_archive_tells_what_the_registry_told(
    registry: Registry, registered: Registered, path: Path
) -> None:
    archive = Archive(path)
    assert archive.last.uri == registered.patched_uri
    assert {one.uri for one in archive.versions()} == {
        registered.patched_uri,
        registered.weak_uri,
        *registered.class_module_uris[1:],
    }
    for told in archive.versions():
        known = registry.find(told.uri)
        for name in ("kind", "class_names", "patched_classes", "metrics", "digest", "parents"):
            assert getattr(told, name) == getattr(known, name), name
        assert told.parent_digests == known.parent_digests
        assert archive.evidence(told.uri) == registry.evidence(told.uri)
    assert archive.evidence(registered.patched_uri) != {}


def test_its_models_answer_as_the_registry_s_do(
    registry: Registry, registered: Registered, path: Path, images: NDArray[np.uint8]
) -> None:
    archive = Archive(path)
    for uri in (registered.patched_uri, registered.weak_uri):
        here, there = archive.load(uri), registry.load(uri)
        assert isinstance(here.model, Classifier | PatchedClassifier)
        assert isinstance(there.model, Classifier | PatchedClassifier)
        np.testing.assert_array_equal(predict(here.model, images), predict(there.model, images))
        assert here.manifest == there.manifest
        assert [part.uri for part in here.parts] == [part.uri for part in there.parts]
    assert load_archive(path).version == archive.last


def test_parts_that_are_in_memory_are_not_loaded_again(registered: Registered, path: Path) -> None:
    archive, parts = Archive(path), Taken()
    first = registered.class_module_uris[1]
    assert isinstance(archive.load_part(first, parts), ClassModule)
    loaded = archive.load(registered.patched_uri, parts=parts)
    assert [name for name, _ in parts.loaded] == [
        first,
        registered.weak_uri,
        registered.class_module_uris[2],
    ]
    assert all(size > 1000 for _, size in parts.loaded)
    assert isinstance(loaded.model, PatchedClassifier)
    assert loaded.model.weak is parts.kept[archive.find(registered.weak_uri).digest]
    with pytest.raises(BundleError, match="can't be parts of another"):
        archive.load_part(registered.patched_uri, parts)


@pytest.mark.parametrize("name", ["{name}/99", "{name}@champion", "nothing/1"])
def test_what_it_does_not_hold_is_named_with_what_it_holds(
    registered: Registered, path: Path, name: str
) -> None:
    own = registered.patched_uri.removeprefix("models:/").rpartition("/")[0]
    archive = Archive(path)
    with pytest.raises(NotFoundError, match=f"it holds .*{registered.patched_uri}"):
        archive.find(f"models:/{name.format(name=own)}")
    with pytest.raises(AddressError):
        archive.find("nonsense")


def rewritten(source: Path, target: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """An archive as a stranger would write it, with one member changed."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    found = next(member for member in members if member.endswith(name))
    members[found] = change(members[found])
    with zipfile.ZipFile(target, "w") as archive:
        for member, raw in members.items():
            archive.writestr(member, raw)
    return target


def test_a_byte_that_was_changed_later_is_found_when_it_is_needed(
    registered: Registered, path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    archive = Archive(copy)
    rewritten(path, copy, "weights.safetensors", lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(ArchiveError, match=r"weights.safetensors was changed"):
        archive.load(registered.patched_uri)
    with pytest.raises(ArchiveError, match=r"weights.safetensors was changed"):
        Archive(copy)
    copy.unlink()
    with pytest.raises(ArchiveError, match="it is not there"):
        archive.load(registered.patched_uri)


def test_an_archive_that_was_replaced_by_another_is_told(
    registry: Registry, registered: Registered, path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    archive = Archive(copy)
    registry.exchange.export_archive(registered.weak_uri, copy)
    with pytest.raises(ArchiveError, match="was replaced"):
        archive.load(registered.patched_uri)
    assert archive.load(registered.weak_uri).version.uri == registered.weak_uri


def test_a_list_that_says_other_than_its_bundles_is_refused(path: Path, tmp_path: Path) -> None:
    def without_a_parent(raw: bytes) -> bytes:
        index = json.loads(raw)
        index["versions"][-1]["parents"].pop()
        return json.dumps(index).encode()

    hostile = rewritten(path, tmp_path / "hostile", "archive.json", without_a_parent)
    with pytest.raises(ArchiveError, match="name other parents"):
        Archive(hostile)
