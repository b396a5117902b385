from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from registry.bundles.manifest import KeptChannels
from registry.bundles.manifest_file import MAX_MANIFEST_BYTES, dump_manifest, parse_manifest
from registry.entries import classifier_entry
from registry.errors import BundleError
from tests.registry.conftest import make_trained

SHA = "0" * 64


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """A valid manifest as plain JSON values."""
    manifest = classifier_entry(make_trained("strong")).manifest
    found: dict[str, Any] = json.loads(dump_manifest(manifest))
    found["files"] = {"weights.safetensors": {"sha256": SHA, "size_bytes": 10}}
    return found


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_kept_channels_are_unpacked_as_they_were_packed(kept: list[bool]) -> None:
    mask = torch.tensor(kept)
    packed = KeptChannels.from_mask(mask)
    assert packed.count == len(kept)
    assert torch.equal(packed.to_mask(), mask)


def test_a_manifest_is_read_as_it_was_written(plain: dict[str, Any]) -> None:
    manifest = parse_manifest(json.dumps(plain).encode())
    assert parse_manifest(dump_manifest(manifest)) == manifest
    assert json.loads(dump_manifest(manifest)) == plain


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"probe": {"outputs": [[1.0]]}}, "probe"),
        ({"probe": {"outputs": [[1.0], ["a"]]}}, "probe"),
        ({"kind": "stronger"}, "kind"),
        ({"surprise": 1}, "surprise"),
        ({"class_names": []}, "class_names"),
        ({"class_names": ["a", "a"]}, "distinct"),
        ({"metrics": {"accuracy": "high"}}, "metrics"),
        ({"preprocessing": {"size": [100_000, 8], "channels": 1, "mean": [0], "std": [1]}}, "size"),
        ({"architecture": {"name": "simcnn", "arguments": {"stages": [[1]] * 9000}}}, "arguments"),
        ({"files": {"bundle.json.txt": {"sha256": SHA, "size_bytes": 1}}}, "weights.safetensors"),
    ],
)
def test_a_manifest_with_another_meaning_is_refused(
    plain: dict[str, Any], change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BundleError, match=complaint):
        parse_manifest(json.dumps({**plain, **change}).encode())


@pytest.mark.parametrize(
    "name",
    ["../weights", "/etc/passwd", "a/../b", "a/b/c", "", ".", "..", ".hidden", "a\\b", "a\nb"],
)
def test_a_file_name_that_leaves_the_bundle_is_refused(plain: dict[str, Any], name: str) -> None:
    files = {**plain["files"], name: {"sha256": SHA, "size_bytes": 1}}
    with pytest.raises(BundleError, match="plain file name"):
        parse_manifest(json.dumps({**plain, "files": files}).encode())


def test_an_unpinned_parent_is_refused(plain: dict[str, Any]) -> None:
    for uri in ("models:/weak@champion", "weak", "models:/we/ak/1", 3):
        patched = {
            "format_version": 1,
            "kind": "patched",
            "metrics": {},
            "origin": plain["origin"],
            "class_names": ["a"],
            "weak": {"uri": uri, "digest": SHA},
            "patches": [],
        }
        with pytest.raises(BundleError, match="weak"):
            parse_manifest(json.dumps(patched).encode())


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"", "JSON"),
        (b"not json", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[1, 2]", "format"),
        (b"null", "format"),
        (b'{"format_version": NaN}', "NaN"),
        (b'{"format_version": 1, "format_version": 1}', "twice"),
        (b"[" * 100_000, "JSON"),
        (b'{"a":' * 100_000, "JSON"),
        (b'{"format_version": ' + b"9" * 5000 + b"}", "JSON"),
    ],
)
def test_a_json_bomb_is_one_clear_error(raw: bytes, complaint: str) -> None:
    with pytest.raises(BundleError, match=complaint):
        parse_manifest(raw)


def test_a_manifest_too_large_is_refused_unread() -> None:
    with pytest.raises(BundleError, match="bytes"):
        parse_manifest(b" " * (MAX_MANIFEST_BYTES + 1))


def test_kept_channels_that_lie_about_their_count_are_refused() -> None:
    for count, bits in ((9, "ff"), (8, "ffff"), (0, "ff"), (8, "f"), (10**12, "ff")):
        with pytest.raises(ValueError, match="validation error"):
            KeptChannels(count=count, bits=bits)
