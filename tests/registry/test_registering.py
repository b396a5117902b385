from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from modularizer.assembly.fusions.stacking import Stacking
from modularizer.classifier import Classifier
from registry.errors import BundleError, NotFoundError, RegistryError
from registry.registry import Registry
from tests.registry.conftest import (
    CLASS_NAMES,
    SPEC,
    Registered,
    client_of,
    make_classifier,
    make_decomposition,
    make_patched,
    make_trained,
)


def test_registering_again_makes_the_next_version(registry: Registry, fresh_name: str) -> None:
    assert registry.add_classifier(make_trained(fresh_name)) == f"models:/{fresh_name}/1"
    assert registry.add_classifier(make_trained(fresh_name)) == f"models:/{fresh_name}/2"


def test_a_name_holds_models_of_one_kind(registry: Registry, registered: Registered) -> None:
    with pytest.raises(RegistryError, match="belongs to models of kind strong"):
        registry.add_classifier(make_trained("whole-strong", kind="weak"))


def test_a_patch_must_be_a_class_module(registry: Registry, registered: Registered) -> None:
    with pytest.raises(RegistryError, match="expected a class module"):
        registry.add_patched(make_patched("odd", registered.weak_uri, registered.strong_uri))
    with pytest.raises(RegistryError, match="expected a strong or weak model"):
        registry.add_patched(
            make_patched("odd", registered.patched_uri, registered.class_module_uris[0])
        )


def test_two_patches_for_one_class_are_refused(
    registry: Registry, registered: Registered, fresh_name: str
) -> None:
    uri = registered.class_module_uris[0]
    with pytest.raises(BundleError, match="each class takes one patch"):
        registry.add_patched(make_patched(fresh_name, registered.weak_uri, uri, uri))
    with pytest.raises(NotFoundError):
        registry.find(f"models:/{fresh_name}/1")


def test_a_class_module_for_a_foreign_class_is_refused(registry: Registry, fresh_name: str) -> None:
    trained = make_trained(fresh_name)
    other = Classifier(
        trained.classifier.network,
        architecture=SPEC,
        preprocessing=trained.classifier.preprocessing,
        class_names=("zero", "one", "two"),
    )
    uri = registry.add_classifier(trained)
    with pytest.raises(RegistryError, match="'one'"):
        registry.add_decomposition(make_decomposition(fresh_name, other), strong_uri=uri)


def test_an_alias_as_a_part_is_pinned_to_its_version(
    registry: Registry, registered: Registered, fresh_name: str
) -> None:
    weak = registry.add_classifier(make_trained(fresh_name, kind="weak"))
    registry.aliases.promote(weak, "champion")
    uri = registry.add_patched(
        make_patched(
            f"{fresh_name}-patched",
            f"models:/{fresh_name}@champion",
            registered.class_module_uris[0],
        )
    )
    registry.aliases.promote(
        registry.add_classifier(make_trained(fresh_name, kind="weak", seed=3)), "champion"
    )
    assert registry.find(uri).parents[0] == weak
    assert registry.load(uri).parts[0].uri == weak


def test_pictures_are_kept_with_the_version_and_beside_its_run(
    registry: Registry, registered: Registered, fresh_name: str, tmp_path: Path
) -> None:
    picture = tmp_path / "gain & loss.png"
    picture.write_bytes(b"\x89PNG")
    record = make_patched(fresh_name, registered.weak_uri, registered.class_module_uris[0])
    uri = registry.add_patched(replace(record, pictures=(picture,)))
    assert "pictures/gain___loss.png" in registry.manifest(uri).files
    later = tmp_path / "table.png"
    later.write_bytes(b"\x89PNG")
    registry.add_pictures(uri, [later])
    client = client_of(registry)
    listed = client.list_artifacts(registry.find(uri).run_id, "pictures")
    assert {Path(entry.path).name for entry in listed} == {"gain & loss.png", "table.png"}
    registry.load_patched(uri)


def test_a_missing_picture_is_named(
    registry: Registry, registered: Registered, fresh_name: str, tmp_path: Path
) -> None:
    record = make_patched(fresh_name, registered.weak_uri, registered.class_module_uris[0])
    with pytest.raises(RegistryError, match=r"gone\.png"):
        registry.add_patched(replace(record, pictures=(tmp_path / "gone.png",)))


def test_loading_and_adding_leave_the_process_as_it_was(
    registry: Registry, registered: Registered, fresh_name: str
) -> None:
    import mlflow

    before = (os.environ.get("MLFLOW_TRACKING_URI"), mlflow.get_tracking_uri())
    registry.add_classifier(make_trained(fresh_name))
    registry.load(registered.patched_uri)
    assert (os.environ.get("MLFLOW_TRACKING_URI"), mlflow.get_tracking_uri()) == before


def test_opening_a_registry_leaves_other_people_s_models_loadable(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", raising=False)
    Registry.open(home)
    assert "MLFLOW_ALLOW_PICKLE_DESERIALIZATION" not in os.environ


def test_a_callers_own_tracking_uri_does_not_lead_astray(
    registry: Registry, fresh_name: str, tmp_path: Path
) -> None:
    import mlflow

    elsewhere = f"sqlite:///{tmp_path}/other.db"
    mlflow.set_tracking_uri(elsewhere)
    try:
        uri = registry.add_classifier(make_trained(fresh_name))
        assert mlflow.get_tracking_uri() == elsewhere
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    assert registry.load_classifier(uri).class_names == CLASS_NAMES
    assert not (tmp_path / "other.db").exists()


def test_a_caller_keeps_its_network_as_it_was(registry: Registry, fresh_name: str) -> None:
    trained = make_trained(fresh_name)
    network = trained.classifier.network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    registry.add_classifier(trained)
    assert all(module.training for module in network.modules())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_nan_is_refused_before_anything_is_stored(registry: Registry, fresh_name: str) -> None:
    trained = make_trained(fresh_name)
    with torch.no_grad():
        next(trained.classifier.network.parameters()).fill_(float("nan"))
    with pytest.raises(BundleError, match="NaN"):
        registry.add_classifier(trained)
    healthy = replace(make_trained(fresh_name), metrics={"accuracy": float("nan")})
    with pytest.raises(BundleError, match=r"metrics\.accuracy"):
        registry.add_classifier(healthy)
    with pytest.raises(NotFoundError):
        registry.find(f"models:/{fresh_name}/1")


def test_an_unsaid_architecture_mismatch_is_found_when_it_is_read_back(
    registry: Registry, fresh_name: str
) -> None:
    trained = make_trained(fresh_name)
    classifier = make_classifier()
    classifier.architecture = SPEC.model_copy(
        update={"arguments": {**SPEC.arguments, "batch_norm": False}}
    )
    with pytest.raises(BundleError, match="was not stored as it is"):
        registry.add_classifier(replace(trained, classifier=classifier))
    assert [v for v in registry.versions() if v.name == fresh_name] == []


def test_a_fusion_that_does_not_fit_its_patches_is_not_registered(
    registry: Registry, registered: Registered, fresh_name: str
) -> None:
    record = replace(
        make_patched(fresh_name, registered.weak_uri, *registered.class_module_uris[1:]),
        fusion=Stacking(weak_weights=(1.0, 1.0)),
    )
    with pytest.raises(BundleError, match="stacking takes fitted calibrations"):
        registry.add_patched(record)
    with pytest.raises(NotFoundError):
        registry.find(f"models:/{fresh_name}/1")
