from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from modularizer.diagnosis import diagnose
from modularizer.records import Provenance
from registry.diagnoses import DiagnosedVersion
from registry.errors import NotFoundError, RegistryError
from registry.registry import Registry
from registry.store.diagnoses import metric_keys
from tests.registry.conftest import (
    CLASS_NAMES,
    client_of,
    make_classifier,
    make_decomposition,
    make_trained,
)

FINGERPRINT = "cd" * 32


def make_record(uri: str, *, wrong: int = 40, split: str = "validation") -> DiagnosedVersion:
    """Fifty images a class; of the last class ``wrong`` are taken for the first."""
    labels = np.repeat(np.arange(3), 50)
    predicted = np.where(np.arange(150) >= 150 - wrong, 0, labels)
    return DiagnosedVersion(
        uri,
        split,
        diagnose(labels, predicted, class_names=CLASS_NAMES, draws=100),
        Provenance({"split": split, "margin": 0.05}, 0, "digits", FINGERPRINT),
    )


@pytest.fixture(scope="module")
def diagnosed(registry: Registry) -> str:
    """A version with one diagnosis."""
    uri = registry.add_classifier(make_trained("diagnosed", kind="weak"))
    registry.add_diagnosis(make_record(uri))
    return uri


def test_a_diagnosis_comes_back_in_short(registry: Registry, diagnosed: str) -> None:
    record = make_record(diagnosed)
    (found,) = registry.diagnoses(diagnosed)
    assert registry.diagnoses(registry.find(diagnosed)) == [found]
    assert found.macro_f1 == pytest.approx(record.diagnosis.macro_f1)
    assert found.accuracy == pytest.approx(110 / 150)
    assert (found.images, found.split, found.data_source) == (150, "validation", "digits")
    assert found.data_fingerprint == FINGERPRINT
    assert (found.worth_patching, found.worth_patching_count) == (("a/b",), 1)
    assert abs((datetime.now(UTC) - found.created).total_seconds()) < 600
    assert found.user


def test_mlflow_shows_the_diagnosis_as_a_run_that_read_the_model_and_the_data(
    registry: Registry, diagnosed: str, tmp_path: Path
) -> None:
    client, version = client_of(registry), registry.find(diagnosed)
    run = client.get_run(registry.diagnoses(diagnosed)[0].run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "diagnosis: diagnosed/1")
    assert run.data.tags["patchbay.step"] == "diagnosis"
    assert run.data.params["margin"] == "0.05"
    assert [one.model_id for one in run.inputs.model_inputs] == [version.model_id]
    assert run.outputs is None or run.outputs.model_outputs == []
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", FINGERPRINT[:12])
    assert [tag.value for tag in data.tags] == ["validation"]
    file = Path(client.download_artifacts(run.info.run_id, "diagnosis.json", str(tmp_path)))
    expected = make_record(diagnosed).as_json()
    assert json.loads(file.read_bytes()) == json.loads(json.dumps(expected))
    pictures = [one.path for one in client.list_artifacts(run.info.run_id, "pictures")]
    assert pictures == ["pictures/by-class.png", "pictures/confusions.png"]


def test_the_models_page_has_the_numbers_with_their_data(
    registry: Registry, diagnosed: str
) -> None:
    version = registry.find(diagnosed)
    run_id = registry.diagnoses(diagnosed)[0].run_id
    metrics = client_of(registry).get_logged_model(version.model_id).metrics
    shown = {one.key: one for one in metrics if one.run_id == run_id}
    diagnosis = make_record(diagnosed).diagnosis
    assert shown["macro_f1"].value == pytest.approx(diagnosis.macro_f1)
    assert shown["f1/a_b"].value == pytest.approx(2 * 10 / 60)
    assert shown["recall/traffic light"].value == 1
    assert shown["precision/zero"].value == pytest.approx(50 / 90)
    assert shown["support/a_b"].value == 50
    data = (shown["macro_f1"].dataset_name, shown["macro_f1"].dataset_digest)
    assert data == ("digits", FINGERPRINT[:12])


def test_the_bundle_stays_as_it_is(registry: Registry, fresh_name: str) -> None:
    uri = registry.add_classifier(make_trained(fresh_name))
    before = registry.load(uri)
    registry.add_diagnosis(make_record(uri))
    after = registry.load(uri)
    assert (after.version, after.manifest) == (before.version, before.manifest)


def test_the_newest_comes_first_and_other_versions_have_none(
    registry: Registry, fresh_name: str
) -> None:
    first = registry.add_classifier(make_trained(fresh_name))
    other = registry.add_classifier(make_trained(fresh_name))
    runs = [
        registry.add_diagnosis(make_record(first, wrong=wrong, split=split))
        for wrong, split in ((40, "validation"), (0, "test"), (45, "validation"))
    ]
    found = registry.diagnoses(first)
    assert [one.run_id for one in found] == runs[::-1]
    assert [one.split for one in found] == ["validation", "test", "validation"]
    assert [one.worth_patching for one in found] == [("a/b",), (), ("a/b",)]
    assert registry.diagnoses(other) == []


def test_what_was_interrupted_deleted_or_changed_is_left_out(
    registry: Registry, fresh_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    uri = registry.add_classifier(make_trained(fresh_name))
    runs = [registry.add_diagnosis(make_record(uri)) for _ in range(4)]
    client = client_of(registry)
    client.set_terminated(runs[0], "FAILED")
    client.delete_run(runs[1])
    client.set_tag(runs[2], "patchbay.worth_patching", "[1, ")
    assert [one.run_id for one in registry.diagnoses(uri)] == runs[3:]
    assert runs[2] in caplog.text


def test_a_diagnosis_of_something_else_is_refused(registry: Registry, fresh_name: str) -> None:
    uri = registry.add_classifier(make_trained(fresh_name))
    every = make_decomposition(fresh_name, make_classifier())
    one = replace(every, classes=every.classes[:1])
    [module] = registry.add_decomposition(one, strong_uri=uri)
    with pytest.raises(RegistryError, match="one class alone"):
        registry.add_diagnosis(make_record(module))
    labels = np.array([0, 1])
    foreign = replace(make_record(uri), diagnosis=diagnose(labels, labels, class_names="xy"))
    with pytest.raises(RegistryError, match="x, y"):
        registry.add_diagnosis(foreign)
    with pytest.raises(NotFoundError):
        registry.diagnoses("models:/nobody/1")
    assert registry.diagnoses(uri) == registry.diagnoses(module) == []


def test_a_failure_halfway_leaves_no_diagnosis(registry: Registry, fresh_name: str) -> None:
    uri = registry.add_classifier(make_trained(fresh_name))
    record = make_record(uri)
    # A share that JSON can't hold is found before anything is stored.
    broken = replace(record, diagnosis=replace(record.diagnosis, macro_f1=float("nan")))
    with pytest.raises(RegistryError, match="JSON"):
        registry.add_diagnosis(broken)
    assert registry.diagnoses(uri) == []


def test_very_many_marked_classes_are_counted_and_the_first_are_named(
    registry: Registry, fresh_name: str
) -> None:
    from registry.store.diagnoses import store_diagnosis, stored_diagnoses

    names = [f"class {index} {'with quite a long name ' * 20}" for index in range(40)]
    labels = np.repeat(np.arange(40), 30)
    predicted = np.where(labels % 2, labels, (labels + 2) % 40)
    uri = registry.add_classifier(make_trained(fresh_name))
    diagnosis = diagnose(labels, predicted, class_names=names, draws=50)
    assert len(diagnosis.worth_patching) == 20
    store, version = registry._store, registry.find(uri)
    store_diagnosis(store, version, replace(make_record(uri), diagnosis=diagnosis))
    (found,) = stored_diagnoses(store, version)
    assert found.worth_patching_count == 20
    count = len(found.worth_patching)
    assert 5 < count < 20
    assert found.worth_patching == diagnosis.worth_patching[:count]


def test_metric_names_are_legal_and_distinct() -> None:
    names = ["cat", "a/b", "a:b", "a_b", "", "..", "x" * 400, "x" * 300, "漢字"]
    keys = metric_keys(names)
    assert len(set(keys)) == len(names)
    assert keys[:4] == ["cat", "a_b", "a_b 2", "a_b 3"]
    assert all(0 < len(key) < 240 for key in keys)
