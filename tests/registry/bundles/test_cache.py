from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from registry.bundles.bundle import Bundle, write_bundle
from registry.bundles.cache import BundleCache, cache_root
from registry.entries import classifier_entry
from tests.registry.conftest import make_trained


def filled(cache: BundleCache, seed: int) -> Bundle:
    entry = classifier_entry(make_trained("strong", seed=seed))
    with cache.scratch() as folder:
        (folder / "bundle").mkdir()
        return cache.add(write_bundle(folder / "bundle", entry.manifest, entry.contents))


def last_used(tmp_path: Path, bundle: Bundle, seconds: int) -> None:
    os.utime(tmp_path / "bundles" / bundle.digest, (seconds, seconds))


def test_what_was_added_is_found_and_can_be_read(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path)
    bundle = filled(cache, 0)
    found = BundleCache(tmp_path).find(bundle.digest)
    assert found == bundle
    assert found is not None
    assert found.read("weights.safetensors")
    assert list(cache.scratch_root.iterdir()) == []


def test_what_was_not_added_is_not_found(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path)
    assert cache.find("0" * 64) is None
    assert cache.digests() == []
    cache.remove("0" * 64)


def test_the_same_bundle_is_kept_once(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path)
    assert filled(cache, 0) == filled(cache, 0)
    assert len(cache.digests()) == 1


@pytest.mark.parametrize("harm", ["manifest", "cut", "remove", "add"])
def test_a_changed_copy_is_dropped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    cache = BundleCache(tmp_path)
    bundle = filled(cache, 0)
    weights = bundle.folder / "weights.safetensors"
    if harm == "add":
        (bundle.folder / "more").touch()
    elif harm == "remove":
        weights.unlink()
    elif harm == "cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    else:
        (bundle.folder / "bundle.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert cache.find(bundle.digest) is None
    assert "removed from the cache" in caplog.text
    assert cache.digests() == []
    assert filled(cache, 0).digest == bundle.digest


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    plenty = BundleCache(tmp_path)
    first, second = filled(plenty, 0), filled(plenty, 1)
    last_used(tmp_path, first, 1000)
    last_used(tmp_path, second, 2000)
    assert plenty.find(first.digest)  # used again: now the other one is older
    size = sum(path.stat().st_size for path in first.folder.iterdir())
    cache = BundleCache(tmp_path, max_bytes=int(2.5 * size))
    third = filled(cache, 2)
    assert set(cache.digests()) == {first.digest, third.digest}


def test_one_that_is_larger_than_the_limit_stays_until_the_next(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path, max_bytes=1)
    first = filled(cache, 0)
    assert cache.digests() == [first.digest]
    second = filled(cache, 1)
    assert cache.digests() == [second.digest]


def test_a_cache_that_can_not_be_written_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    cache = BundleCache(tmp_path / "file")
    entry = classifier_entry(make_trained("strong"))
    with cache.scratch() as folder, caplog.at_level(logging.WARNING):
        staged = write_bundle(folder, entry.manifest, entry.contents)
        bundle = cache.add(staged)
        assert bundle == staged
        assert bundle.read("weights.safetensors")
    assert "can't be cached" in caplog.text
    assert cache.find(bundle.digest) is None


def test_a_copy_that_belongs_to_somebody_else_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In a container's image, say: it can be read, and when it was used can't be noted."""

    def refuse(*_: object) -> None:
        raise PermissionError("Operation not permitted")

    cache = BundleCache(tmp_path)
    bundle = filled(cache, 0)
    monkeypatch.setattr(os, "utime", refuse)
    assert cache.find(bundle.digest) == bundle
    assert cache.digests() == [bundle.digest]
    assert caplog.text == ""


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATCHBAY_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_root(tmp_path) == tmp_path / "cache"
    assert cache_root(None) == Path("~/.cache/patchbay").expanduser()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root(None) == tmp_path / "xdg" / "patchbay"
    monkeypatch.setenv("PATCHBAY_CACHE", str(tmp_path / "chosen"))
    assert cache_root(tmp_path) == tmp_path / "chosen"
    assert cache_root(None) == tmp_path / "chosen"
