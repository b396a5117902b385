from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modularizer.architectures.spec import ArchitectureSpec
from registry.bundles.bundle import write_bundle
from registry.bundles.limits import (
    MAX_JSON_BYTES,
    MAX_PICTURE_BYTES,
    MAX_WEIGHTS_BYTES,
    require_expected,
    require_small,
)
from registry.bundles.manifest import (
    AnyManifest,
    ClassModuleManifest,
    Parent,
    PatchedModelManifest,
    PatchEntry,
    StoredFile,
)
from registry.entries import class_module_entry, classifier_entry
from registry.errors import BundleError
from registry.version import version_from_tags, version_tags
from tests.registry.conftest import make_decomposition, make_trained

WEIGHTS = "weights.safetensors"
SHA = "0" * 64
HEADER_BYTES = 8 * 2**20 + 8


def with_file(manifest: AnyManifest, name: str, size_bytes: int) -> AnyManifest:
    files = {**manifest.files, name: StoredFile(sha256=SHA, size_bytes=size_bytes)}
    return manifest.model_copy(update={"files": files})


@pytest.fixture(scope="module")
def classifier_manifest() -> AnyManifest:
    return classifier_entry(make_trained("strong")).manifest


@pytest.fixture(scope="module")
def module_manifest() -> AnyManifest:
    trained = make_trained("strong")
    record = make_decomposition("strong", trained.classifier)
    version = version_from_tags(
        version_tags(classifier_entry(trained).manifest, SHA),
        name="strong",
        version=1,
        aliases=(),
        created_ms=0,
        source=f"models:/m-{'0' * 32}",
        run_id=None,
    )
    return class_module_entry(record, record.classes[1], version).manifest


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("history.json", MAX_JSON_BYTES),
        ("evidence.json", MAX_JSON_BYTES),
        ("pictures/a.png", MAX_PICTURE_BYTES),
        ("pictures/a", MAX_PICTURE_BYTES),
        (WEIGHTS, MAX_WEIGHTS_BYTES),
    ],
)
def test_a_file_may_have_its_limit_and_not_a_byte_more(name: str, limit: int) -> None:
    require_small({name: limit, "bundle.json": 5})
    with pytest.raises(BundleError, match=f"{name} has {limit + 1} bytes; .* at most {limit}$"):
        require_small({"bundle.json": 5, name: limit + 1})


def test_weights_may_have_what_the_whole_network_needs(classifier_manifest: AnyManifest) -> None:
    state = make_trained("strong").classifier.network.state_dict()
    most = sum(tensor.nbytes for tensor in state.values()) + HEADER_BYTES
    require_expected(with_file(classifier_manifest, WEIGHTS, most))
    with pytest.raises(BundleError, match=f"{WEIGHTS} has {most + 1} bytes; its archi.* {most}$"):
        require_expected(with_file(classifier_manifest, WEIGHTS, most + 1))


def test_weights_of_a_class_module_may_have_what_the_sliced_network_needs(
    module_manifest: AnyManifest,
) -> None:
    classifier = make_trained("strong").classifier
    part = make_decomposition("strong", classifier).classes[1]
    assert isinstance(module_manifest, ClassModuleManifest)
    assert torch.equal(part.class_module.kept, module_manifest.kept.to_mask())
    sliced = sum(one.nbytes for one in part.class_module.network.state_dict().values())
    whole = sum(one.nbytes for one in classifier.network.state_dict().values())
    most = sliced + HEADER_BYTES
    assert sliced < whole
    require_expected(with_file(module_manifest, WEIGHTS, most))
    with pytest.raises(BundleError, match="its architecture needs"):
        require_expected(with_file(module_manifest, WEIGHTS, most + 1))


def test_a_patched_model_has_no_weights() -> None:
    record = make_trained("weak")
    parent = Parent(uri="models:/weak/1", digest=SHA)
    patch = PatchEntry(
        class_module=parent,
        module_class="zero",
        class_name="zero",
        calibration=make_decomposition("weak", record.classifier).classes[0].calibrations["minmax"],
    )
    manifest = PatchedModelManifest(
        weak=parent,
        class_names=record.classifier.class_names,
        patches=(patch,),
        metrics={},
        origin=classifier_entry(record).manifest.origin,
    )
    require_expected(manifest)
    with pytest.raises(BundleError, match="no weights of its own"):
        require_expected(with_file(manifest, WEIGHTS, 10))


def test_what_is_not_copied_is_not_looked_at(classifier_manifest: AnyManifest) -> None:
    unknown = ArchitectureSpec(name="nobody's", arguments={})
    manifest = classifier_manifest.model_copy(update={"architecture": unknown})
    manifest = with_file(with_file(manifest, WEIGHTS, 10), "evidence.json", MAX_JSON_BYTES + 1)
    require_expected(manifest, ["history.json"])
    with pytest.raises(BundleError, match=r"evidence\.json"):
        require_expected(manifest, ["evidence.json"])
    with pytest.raises(BundleError, match=r"can't be built.*nobody's"):
        require_expected(manifest, [WEIGHTS])


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    entry = classifier_entry(make_trained("strong"))
    contents = {**entry.contents, "pictures/large.png": bytes(MAX_PICTURE_BYTES + 1)}
    with pytest.raises(BundleError, match=f"pictures/large.png has .* at most {MAX_PICTURE_BYTES}"):
        write_bundle(tmp_path, entry.manifest, contents)
    assert list(tmp_path.iterdir()) == []
