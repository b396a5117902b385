from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from modularizer.assembly.calibration import Calibration
from modularizer.assembly.calibrations.fitted import FittedCalibration
from modularizer.assembly.calibrations.logistic import LogisticCalibration
from modularizer.assembly.calibrations.minmax import MinMaxCalibration
from modularizer.assembly.calibrations.quantile import QuantileCalibration
from modularizer.assembly.fusions.replacement import Replacement
from modularizer.assembly.fusions.stacking import Stacking
from modularizer.assembly.patched import Patch, PatchedClassifier
from modularizer.classifier import Classifier, predict
from modularizer.records import AppliedPatch
from registry.bundles.manifest import ClassModuleManifest
from registry.bundles.restoring import LoadedClassModule
from registry.errors import NotFoundError, RegistryError
from registry.registry import Registry
from registry.version import Version
from tests.registry.conftest import (
    CLASS_NAMES,
    SPEC,
    Registered,
    class_of,
    client_of,
    make_decomposition,
    make_patched,
    make_trained,
)


def test_a_classifier_comes_back_as_it_went_in(
    registry: Registry, registered: Registered, images: NDArray[np.uint8]
) -> None:
    for uri, original in (
        (registered.strong_uri, registered.strong),
        (registered.weak_uri, registered.weak),
    ):
        loaded = registry.load_classifier(uri)
        assert loaded.class_names == CLASS_NAMES
        assert loaded.architecture == SPEC
        assert loaded.preprocessing == original.preprocessing
        np.testing.assert_array_equal(predict(loaded, images), predict(original, images))
        assert not any(module.training for module in loaded.modules())


def test_a_class_module_comes_back_as_it_went_in(
    registry: Registry, registered: Registered, images: NDArray[np.uint8]
) -> None:
    for uri, part in zip(
        registered.class_module_uris, registered.decomposition.classes, strict=True
    ):
        loaded = registry.load_class_module(uri)
        original = part.class_module
        assert loaded.class_name == original.class_name
        assert loaded.calibrations == part.calibrations
        assert torch.equal(loaded.class_module.kept, original.kept)
        assert loaded.class_module.output == original.output
        np.testing.assert_array_equal(
            predict(loaded.class_module, images), predict(original, images)
        )


def test_a_patched_model_comes_back_as_it_would_be_put_together(
    registry: Registry, registered: Registered, images: NDArray[np.uint8]
) -> None:
    record = make_patched("", "", *registered.class_module_uris[1:])
    expected = PatchedClassifier(
        registered.weak,
        [
            Patch(part.class_module, patch.calibration)
            for part, patch in zip(
                registered.decomposition.classes[1:], record.patches, strict=True
            )
        ],
    )
    loaded = registry.load_patched(registered.patched_uri)
    np.testing.assert_array_equal(predict(loaded, images), predict(expected, images))


def test_a_loaded_patched_model_names_its_parts(registry: Registry, registered: Registered) -> None:
    loaded = registry.load(registered.patched_uri)
    assert [part.uri for part in loaded.parts] == [
        registered.weak_uri,
        *registered.class_module_uris[1:],
    ]
    assert loaded.version.patched_classes == CLASS_NAMES[1:]


def test_every_calibration_of_a_class_module_comes_back(
    registry: Registry, fresh_name: str
) -> None:
    trained = make_trained(fresh_name)
    strong_uri = registry.add_classifier(trained)
    record = make_decomposition(fresh_name, trained.classifier)
    calibrations: dict[str, Calibration] = {
        "minmax": MinMaxCalibration(minimum=-1 / 3, maximum=2),
        "quantile": QuantileCalibration(low=-0.1, high=1 / 7),
        "logistic": LogisticCalibration(scale=0.3, shift=-1.1),
    }
    part = replace(record.classes[0], calibrations=calibrations)
    [uri] = registry.add_decomposition(replace(record, classes=[part]), strong_uri=strong_uri)
    assert registry.load_class_module(uri).calibrations == calibrations


@pytest.mark.parametrize(
    "fusion",
    [
        Replacement(temperature=1.7, renormalise=True),
        Stacking(temperature=0.6, renormalise=True, weak_weights=(0.4, -0.1)),
    ],
)
def test_a_patched_model_keeps_its_fusion(
    registry: Registry,
    images: NDArray[np.uint8],
    fresh_name: str,
    fusion: Replacement | Stacking,
) -> None:
    trained = make_trained(fresh_name)
    weak_uri = registry.add_classifier(replace(trained, name=f"{fresh_name}-weak", kind="weak"))
    taken_apart = make_decomposition(fresh_name, trained.classifier)
    uris = registry.add_decomposition(taken_apart, strong_uri=registry.add_classifier(trained))
    calibrations = (FittedCalibration(scale=0.3, shift=-1), FittedCalibration(scale=2, shift=0.1))
    record = replace(
        make_patched(f"{fresh_name}-patched", weak_uri, *uris[1:]),
        patches=[
            AppliedPatch(uri, class_of(uri), calibration)
            for uri, calibration in zip(uris[1:], calibrations, strict=True)
        ],
        fusion=fusion,
    )
    patches = [
        Patch(part.class_module, calibration)
        for part, calibration in zip(taken_apart.classes[1:], calibrations, strict=True)
    ]
    expected = PatchedClassifier(trained.classifier, patches, fusion)
    loaded = registry.load_patched(registry.add_patched(record))
    assert loaded.fusion == fusion
    np.testing.assert_array_equal(predict(loaded, images), predict(expected, images))


def test_a_listed_version_tells_what_it_is(registry: Registry, registered: Registered) -> None:
    version = next(v for v in registry.versions() if v.uri == registered.class_module_uris[1])
    assert version == registry.find(version.uri)
    assert (version.kind, version.class_names) == ("class_module", ("traffic light",))
    assert version.parents == (registered.strong_uri,)
    assert version.metrics["kernels_kept"] == 21
    assert version.metrics["multiply_adds"] == 2000
    assert len(version.digest) == 64


def test_versions_of_one_kind_can_be_asked_for(registry: Registry, registered: Registered) -> None:
    assert registered.patched_uri in {v.uri for v in registry.versions("patched")}
    assert {v.kind for v in registry.versions("class_module")} == {"class_module"}


def test_lineage_is_known_both_ways(registry: Registry, registered: Registered) -> None:
    def used_by(part: Version | str) -> set[str]:
        return {v.uri for v in registry.used_by(part)} & {registered.patched_uri, *modules}

    modules = registered.class_module_uris  # other tests make models of them, too
    assert used_by(registered.strong_uri) == set(modules)
    assert used_by(modules[0]) == set()
    assert used_by(modules[1]) == {registered.patched_uri}
    assert used_by(registry.find(registered.weak_uri)) == {registered.patched_uri}


def test_mlflow_knows_the_lineage_too(registry: Registry, registered: Registered) -> None:
    client = client_of(registry)
    versions = [registry.find(uri) for uri in registered.class_module_uris]
    run = client.get_run(versions[0].run_id)
    assert run.info.status == "FINISHED"
    assert [model.model_id for model in run.inputs.model_inputs] == [
        registry.find(registered.strong_uri).model_id
    ]
    made = {model.model_id for model in run.outputs.model_outputs}
    assert made == {version.model_id for version in versions}
    [dataset] = run.inputs.dataset_inputs
    assert dataset.dataset.name == "digits"


def test_what_was_made_without_data_names_no_data_set_in_mlflow(
    registry: Registry, registered: Registered, fresh_name: str
) -> None:
    made = make_patched(fresh_name, registered.weak_uri, registered.class_module_uris[1])
    without = replace(made.provenance, data_source="", data_fingerprint="")
    version = registry.find(registry.add_patched(replace(made, provenance=without)))
    assert client_of(registry).get_run(version.run_id).inputs.dataset_inputs == []


def test_an_mlflow_user_finds_settings_metrics_and_history(
    registry: Registry, registered: Registered
) -> None:
    client = client_of(registry)
    strong = registry.find(registered.strong_uri)
    run = client.get_run(strong.run_id)
    assert run.data.params["search.candidates"] == "20"
    assert run.data.params["seed"] == "7"
    assert run.data.tags["patchbay.data_fingerprint"] == "ab" * 32
    history = client.get_metric_history(strong.run_id, "epoch/loss")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.5)]
    model = client.get_logged_model(strong.model_id)
    assert model.status == "READY"
    assert {metric.key: metric.value for metric in model.metrics}["validation_accuracy"] == 0.9
    assert model.tags["patchbay.digest"] == strong.digest


def test_what_was_used_is_kept_word_for_word(registry: Registry, registered: Registered) -> None:
    manifest = registry.manifest(registered.class_module_uris[0])
    assert isinstance(manifest, ClassModuleManifest)
    assert manifest.origin.settings["search"] == {"candidates": 20, "alpha": 0.9}
    assert manifest.origin.seed == 7
    assert {"python", "torch", "numpy"} <= manifest.origin.software.keys()
    assert manifest.strong.digest == registry.find(registered.strong_uri).digest


def test_evidence_is_read_back(registry: Registry, registered: Registered) -> None:
    assert registry.evidence(registered.patched_uri) == {"confusion": [[3, 1], [0, 4]]}
    assert registry.evidence(registered.weak_uri) == {}


def test_a_missing_version_is_answered_with_what_there_is(
    registry: Registry, registered: Registered
) -> None:
    with pytest.raises(NotFoundError, match=r"whole-patched has version 1"):
        registry.load("models:/whole-patched/99")


def test_a_missing_name_is_answered_with_the_names_there_are(
    registry: Registry, registered: Registered
) -> None:
    with pytest.raises(NotFoundError, match="holds whole-patched"):
        registry.load("models:/whole-patchd/1")


def test_a_model_of_another_kind_is_refused_by_kind(
    registry: Registry, registered: Registered
) -> None:
    with pytest.raises(RegistryError, match="expected a class module"):
        registry.load_class_module(registered.weak_uri)
    with pytest.raises(RegistryError, match="expected a patched model"):
        registry.load_patched(registered.weak_uri)
    with pytest.raises(RegistryError, match="expected a strong or weak model"):
        registry.load_classifier(registered.patched_uri)


def test_a_kind_of_load_is_told_apart(registry: Registry, registered: Registered) -> None:
    assert isinstance(registry.load(registered.strong_uri).model, Classifier)
    assert isinstance(registry.load(registered.class_module_uris[0]).model, LoadedClassModule)
    assert isinstance(registry.load(registered.patched_uri).model, PatchedClassifier)


@pytest.mark.parametrize("harm", ["change", "remove"])
def test_a_bad_copy_in_the_cache_is_fetched_again(
    registry: Registry, fresh_name: str, home: Path, images: NDArray[np.uint8], harm: str
) -> None:
    trained = make_trained(fresh_name, seed=77)
    uri = registry.add_classifier(trained)
    registry.load(uri)
    weights = home / "cache" / "bundles" / registry.find(uri).digest / "weights.safetensors"
    if harm == "remove":
        weights.unlink()
    else:
        raw = weights.read_bytes()
        weights.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    loaded = registry.load_classifier(uri)
    np.testing.assert_array_equal(predict(loaded, images), predict(trained.classifier, images))


def test_versions_that_share_a_part_share_its_copy(
    registry: Registry, registered: Registered, fresh_name: str, home: Path
) -> None:
    zero, one, _ = registered.class_module_uris
    made = [
        registry.add_patched(make_patched(fresh_name, registered.weak_uri, *modules))
        for modules in ((zero,), (zero, one))
    ]
    cached = home / "cache" / "bundles"
    shutil.rmtree(cached)
    registry.load(made[0])
    first = {path.name: path.stat().st_ino for path in cached.iterdir()}
    registry.load(made[1])
    second = {path.name: path.stat().st_ino for path in cached.iterdir()}
    used = (made[0], registered.weak_uri, zero)
    assert set(first) == {registry.find(uri).digest for uri in used}
    assert set(second) - set(first) == {registry.find(uri).digest for uri in (made[1], one)}
    assert first.items() <= second.items()


def test_describing_a_version_fetches_no_weights(
    registry: Registry, registered: Registered, home: Path
) -> None:
    shutil.rmtree(home / "cache")
    assert registry.manifest(registered.strong_uri).files
    assert registry.evidence(registered.patched_uri)
    assert not (home / "cache" / "bundles").exists()
