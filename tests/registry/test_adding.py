"""What is left when something goes wrong in the middle of registering."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from registry.errors import RegistryError, StoreError
from registry.registry import Registry
from registry.store.artifacts import upload_folder
from registry.store.client import Store
from registry.store.fetching import fetch_bundle
from tests.registry.conftest import make_decomposition, make_patched, make_trained


def newest_run(registry: Registry) -> Any:
    client = MlflowClient(registry.tracking_uri)
    experiment: Any = client.get_experiment_by_name("patchbay")
    return client.search_runs([experiment.experiment_id], max_results=1)[0]


def models_of(registry: Registry, run_id: str) -> list[str]:
    client = MlflowClient(registry.tracking_uri)
    experiment: Any = client.get_experiment_by_name("patchbay")
    models = client.search_logged_models([experiment.experiment_id])
    return [str(model.status) for model in models if model.source_run_id == run_id]


@pytest.mark.parametrize(
    "step",
    [
        "registry.store.runs.RunLog.log_origin",
        "registry.store.runs.RunLog.upload",
        "registry.adding.fetch_bundle",
        "registry.store.runs.RunLog.log_model_metrics",
        "registry.store.runs.RunLog.log_lineage",
        "registry.adding.create_version",
    ],
)
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError])
def test_an_interruption_at_any_step_leaves_no_version(
    registry: Registry,
    fresh_name: str,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: type[BaseException],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("stop")

    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        with pytest.raises(StoreError if error is OSError else error):
            registry.add_classifier(make_trained(fresh_name))
    assert [v for v in registry.versions() if v.name == fresh_name] == []
    run = newest_run(registry)
    assert run.info.run_name == f"training: {fresh_name}"
    assert run.info.status == "FAILED"
    assert set(models_of(registry, run.info.run_id)) <= {"FAILED"}
    assert registry.add_classifier(make_trained(fresh_name)) == f"models:/{fresh_name}/1"


def test_an_interruption_while_files_are_copied_marks_the_model_as_failed(
    registry: Registry, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("registry.store.runs.upload_folder", fail)
        with pytest.raises(KeyboardInterrupt):
            registry.add_classifier(make_trained(fresh_name))
    assert models_of(registry, newest_run(registry).info.run_id) == ["FAILED"]


def test_a_decomposition_that_fails_on_its_last_class_registers_none(
    registry: Registry, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = make_trained(fresh_name)
    strong_uri = registry.add_classifier(trained)
    record = make_decomposition(fresh_name, trained.classifier)
    calls: list[Any] = []

    def fail_on_third(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fetch_bundle(*args)

    with monkeypatch.context() as patch:
        patch.setattr("registry.adding.fetch_bundle", fail_on_third)
        with pytest.raises(KeyboardInterrupt):
            registry.add_decomposition(record, strong_uri=strong_uri)
    assert registry.used_by(strong_uri) == []
    assert models_of(registry, newest_run(registry).info.run_id) == ["FAILED"] * 3
    assert len(registry.add_decomposition(record, strong_uri=strong_uri)) == 3


def test_a_file_that_is_lost_on_the_way_is_noticed_before_there_is_a_version(
    registry: Registry, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lossy(store: Store, location: str, folder: Path) -> None:
        weights = folder / "weights.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
        upload_folder(store, location, folder)

    with monkeypatch.context() as patch:
        patch.setattr("registry.store.runs.upload_folder", lossy)
        with pytest.raises(RegistryError, match="was not stored as it is"):
            registry.add_classifier(make_trained(fresh_name))
    assert [v for v in registry.versions() if v.name == fresh_name] == []


def test_a_failed_patched_version_leaves_the_alias_where_it_was(
    registry: Registry, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = make_trained(fresh_name)
    strong_uri = registry.add_classifier(trained)
    decomposition = make_decomposition(fresh_name, trained.classifier)
    uris = registry.add_decomposition(decomposition, strong_uri=strong_uri)
    record = make_patched(f"{fresh_name}-patched", strong_uri, uris[0])
    good = registry.add_patched(record)
    registry.aliases.promote(good, "champion")

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("registry.adding.create_version", fail)
        with pytest.raises(KeyboardInterrupt):
            registry.add_patched(record)
    assert registry.find(f"models:/{fresh_name}-patched@champion").uri == good
    assert [v.uri for v in registry.versions("patched") if v.name == record.name] == [good]
