"""Bundles of every format there was are read for ever, and answer as they did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.patched import PatchedClassifier
from modularizer.classifier import Classifier, predict
from registry.bundles.bundle import read_bundle
from registry.bundles.formats import STEPS, upgraded
from registry.bundles.manifest import (
    FORMAT_VERSION,
    ClassifierManifest,
    ClassModuleManifest,
    PatchedModelManifest,
)
from registry.bundles.manifest_file import parse_manifest
from registry.bundles.restoring import restore_class_module, restore_classifier, restore_patched
from registry.errors import BundleError

FOLDER = Path(__file__).parent
OLD_FORMATS = range(1, FORMAT_VERSION)


def restored(folder: Path, digest: str) -> Classifier | ClassModule:
    bundle = read_bundle(folder, digest)
    if isinstance(bundle.manifest, ClassModuleManifest):
        return restore_class_module(bundle, bundle.manifest).class_module
    assert isinstance(bundle.manifest, ClassifierManifest)
    return restore_classifier(bundle, bundle.manifest)


@pytest.mark.parametrize("number", OLD_FORMATS)
def test_a_stored_bundle_of_each_format_answers_as_it_did_then(number: int) -> None:
    folder = FOLDER / f"format_{number}"
    then = json.loads((folder / "expected.json").read_text())
    images = np.array(then["images"], dtype=np.uint8)

    def require_same(model: Classifier | ClassModule | PatchedClassifier, name: str) -> None:
        outputs = then["bundles"][name]["outputs"]
        np.testing.assert_allclose(predict(model, images), outputs, rtol=1e-4, atol=1e-5)

    parts: dict[str, Any] = {}
    for name in ("strong", "weak", "class_module"):
        parts[name] = restored(folder / name, then["bundles"][name]["digest"])
        require_same(parts[name], name)
    manifest = read_bundle(folder / "patched", then["bundles"]["patched"]["digest"]).manifest
    assert isinstance(manifest, PatchedModelManifest)
    patched = restore_patched(manifest, parts["weak"], [parts["class_module"]])
    require_same(patched, "patched")
    assert [one.digest for one in manifest.parents] == [
        then["bundles"][name]["digest"] for name in ("weak", "class_module")
    ]


@pytest.mark.parametrize("number", OLD_FORMATS)
def test_the_stored_bundles_are_what_they_say(number: int) -> None:
    for path in (FOLDER / f"format_{number}").glob("*/bundle.json"):
        raw = path.read_bytes()
        assert json.loads(raw)["format_version"] == number
        assert parse_manifest(raw).format_version == FORMAT_VERSION


def test_there_is_a_step_from_each_older_format_and_a_bundle_of_it() -> None:
    assert list(STEPS) == list(OLD_FORMATS)
    for number in OLD_FORMATS:
        assert (FOLDER / f"format_{number}" / "expected.json").is_file()


def test_what_an_older_format_did_not_have_is_filled_in() -> None:
    raw = (FOLDER / "format_1" / "patched" / "bundle.json").read_bytes()
    plain = json.loads(raw)
    assert "module_class" not in plain["patches"][0]
    manifest = parse_manifest(raw)
    assert isinstance(manifest, PatchedModelManifest)
    assert [patch.module_class for patch in manifest.patches] == ["traffic light"]
    assert manifest.probe is None


@pytest.mark.parametrize("found", [0, -1, FORMAT_VERSION + 1, "1", 1.0, True, None, [1]])
def test_an_unknown_format_is_refused(found: object) -> None:
    with pytest.raises(BundleError, match=f"expected bundle format 1 to {FORMAT_VERSION}, found"):
        upgraded({"format_version": found})


@pytest.mark.parametrize("plain", [None, 3, [], "x"])
def test_what_is_no_table_has_no_format(plain: object) -> None:
    with pytest.raises(BundleError, match="found None"):
        upgraded(plain)


@pytest.mark.parametrize(
    "patches", [3, [3], [{}], [{"class_name": 3}], [{"class_name": "a", "module_class": "b"}]]
)
def test_a_hostile_old_bundle_is_refused_and_not_stumbled_over(patches: object) -> None:
    raw = (FOLDER / "format_1" / "patched" / "bundle.json").read_bytes()
    with pytest.raises(BundleError, match=r"bundle\.json is not valid: patched\.patches"):
        parse_manifest(json.dumps({**json.loads(raw), "patches": patches}).encode())
