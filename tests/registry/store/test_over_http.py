"""The registry on an MLflow server: all it does at home, and what only a network can do to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from numpy.typing import NDArray
from PIL import Image

from registry.bundles.manifest import EVIDENCE_FILE
from registry.errors import BundleError, InUseError, NotFoundError, RegistryError
from registry.registry import Registry
from tests.patchbay.running import run_command
from tests.registry.conftest import make_decomposition, make_patched, make_trained
from tests.registry.store.proxy import Way, way_to
from tests.registry.store.recording import Recording, recording_server
from tests.registry.store.servers import Server

pytestmark = pytest.mark.slow  # the server takes some 10 s to start


@pytest.fixture(params=["sqlite_server", "postgres_backed_server"])
def on_any_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue(request.param).url)
    return Registry.open()


@pytest.fixture
def remote(sqlite_server: Server, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite_server.url)
    return Registry.open()


@pytest.fixture
def way(sqlite_server: Server) -> Iterator[Way]:
    with way_to(sqlite_server.url) as way:
        yield way


@pytest.fixture
def faulty(way: Way, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The server, by a way that may lose or double what goes over it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", way.url)
    monkeypatch.setattr("registry.store.patience._FIRST_PAUSE_SECONDS", 0.01)
    return Registry.open()


def patchbay(*arguments: str) -> Any:
    """What the command line prints with ``--json``; it has the server's address alone."""
    done = run_command(*arguments, "--json")
    assert (done.code, done.err) == (0, "")
    return done.json


def served_folder(server: Server, registry: Registry, uri: str) -> Path:
    """Where the server keeps a version's files."""
    [folder] = server.artifacts.glob(f"*/models/{registry.find(uri).model_id}/artifacts")
    return folder


def test_everything_works_over_http(
    on_any_backend: Registry,
    fresh_name: str,
    images: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    remote = on_any_backend
    trained = make_trained(fresh_name, kind="weak")
    weak_uri = remote.add_classifier(trained)
    module_uris = remote.add_decomposition(
        make_decomposition(fresh_name, trained.classifier), strong_uri=weak_uri
    )
    picture = tmp_path / "a picture.png"
    Image.fromarray(images[0, :, :, 0]).save(picture)
    record = make_patched(f"{fresh_name}-patched", weak_uri, *module_uris)
    # In the bundle, and beside the run.
    patched_uri = remote.add_patched(replace(record, pictures=[picture]))
    pixels = torch.from_numpy(images)
    assert torch.equal(remote.load_classifier(weak_uri)(pixels), trained.classifier(pixels))
    remote.load_class_module(module_uris[2])
    patched = remote.load_patched(patched_uri)
    assert remote.aliases.promote(patched_uri, "champion") is None
    assert remote.find(f"models:/{fresh_name}-patched@champion").aliases == ("champion",)
    assert remote.evidence(patched_uri) == record.evidence
    files = remote.manifest(patched_uri).files
    assert set(files) == {EVIDENCE_FILE, "pictures/a_picture.png"}
    assert [v.uri for v in remote.used_by(module_uris[0])] == [patched_uri]
    remote.add_pictures(weak_uri, [picture])
    beside = MlflowClient(remote.tracking_uri).list_artifacts(
        remote.find(weak_uri).run_id, "pictures"
    )
    assert [entry.path for entry in beside] == ["pictures/a picture.png"]
    with pytest.raises(NotFoundError, match="has version 1"):
        remote.find(f"models:/{fresh_name}/7")
    with pytest.raises(RegistryError, match="belongs to models of kind weak"):
        remote.add_classifier(make_trained(fresh_name))

    listed = patchbay("list", "--kind", "patched")
    assert patched_uri in {row["uri"] for row in listed}
    shown = patchbay("show", weak_uri)
    assert set(shown["used_by"]) == {patched_uri, *module_uris}
    again = remote.add_patched(record)
    moved = patchbay("promote", again, "--force", "--reason", "nothing to judge it by")
    assert moved["previous"] == patched_uri
    assert patchbay("rollback", f"{fresh_name}-patched")["uri"] == patched_uri
    patchbay("promote", again, "--force", "--reason", "once more")
    kept = patchbay("history", f"{fresh_name}-patched")
    assert [(one["action"], one["after"]) for one in kept] == [
        ("promotion", 1),
        ("promotion", 2),
        ("rollback", 1),
        ("promotion", 2),
    ]
    np.save(tmp_path / "images.npy", images)
    address = f"models:/{fresh_name}-patched@champion"
    answers = patchbay("predict", address, str(tmp_path / "images.npy"))
    assert answers["uri"] == again
    scores = [list(answer["scores"].values()) for answer in answers["predictions"]]
    assert np.allclose(scores, patched(pixels).detach().numpy(), atol=1e-6)

    with pytest.raises(InUseError, match=f"is part of {patched_uri}, {again}"):
        remote.delete(weak_uri)
    patchbay("delete", patched_uri)
    with pytest.raises(RegistryError, match="knows of no version before it"):
        remote.aliases.rollback(f"{fresh_name}-patched", "champion")
    patchbay("delete", again, "--drop-aliases", "--reason", "not needed")
    assert patchbay("history", f"{fresh_name}-patched")[-1]["action"] == "removal"
    assert [v.uri for v in remote.used_by(weak_uri)] == sorted(module_uris)
    assert patchbay("check")["broken"] == []


def test_what_somebody_changed_on_the_server_is_refused(
    sqlite_server: Server, remote: Registry, fresh_name: str
) -> None:
    uri = remote.add_classifier(make_trained(fresh_name))
    folder = served_folder(sqlite_server, remote, uri)
    weights = folder / "weights.safetensors"
    raw = weights.read_bytes()
    (folder / "MLmodel").write_text("flavors: {python_function: {loader_module: os}}")
    with pytest.raises(BundleError, match="'MLmodel'"):
        remote.load(uri)
    (folder / "MLmodel").unlink()
    weights.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"weights\.safetensors was changed"):
        remote.load(uri)
    with weights.open("r+b") as file:
        file.truncate(2**40)  # sparse: takes no room here, but would be sent
    with pytest.raises(BundleError, match="found 1099511627776"):
        remote.load(uri)
    weights.unlink()
    with pytest.raises(BundleError, match=r"lacks 'weights\.safetensors'"):
        remote.load(uri)
    weights.write_bytes(raw)
    assert remote.load(uri).version.uri == uri


@pytest.fixture
def elsewhere(sqlite_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recording]:
    """A server to which the MLflow server's database comes to point; and there is a token."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    with (
        closing(
            sqlite3.connect(sqlite_server.artifacts.with_name("server.db"), timeout=120)
        ) as database,
        recording_server() as other,
    ):
        location = f"http://{other.host}/api/2.0/mlflow-artifacts/artifacts"
        kept = {}
        for table, key, column in (
            ("experiments", "experiment_id", "artifact_location"),
            ("logged_models", "model_id", "artifact_location"),
        ):
            rows = database.execute(f"select {column}, {key} from {table}").fetchall()
            kept[f"update {table} set {column} = ? where {key} = ?"] = rows
        with database:
            for change, rows in kept.items():
                database.executemany(change, [(location, key) for _, key in rows])
        try:
            yield other
        finally:
            with database:
                for change, rows in kept.items():
                    database.executemany(change, rows)


def test_a_token_goes_to_the_stores_own_server_alone(
    remote: Registry, fresh_name: str, request: pytest.FixtureRequest
) -> None:
    uri = remote.add_classifier(make_trained(fresh_name))
    other: Recording = request.getfixturevalue("elsewhere")
    for attempt in (
        lambda: remote.load(uri),
        lambda: remote.add_classifier(make_trained(f"{fresh_name}-more")),
    ):
        with pytest.raises(BundleError, match=f"http://{other.host} are neither read nor written"):
            attempt()
    assert other.requests == []


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /api/2.0/mlflow/runs/create",
        "POST /api/2.0/mlflow/logged-models",
        "POST /api/2.0/mlflow/registered-models/create",
        "POST /api/2.0/mlflow/model-versions/create",
        "POST /api/2.0/mlflow/runs/log-batch",
        "POST /api/2.0/mlflow/runs/log-inputs",
        "POST /api/2.0/mlflow/runs/update",
        "/weights.safetensors",
    ],
)
def test_a_lost_answer_makes_nothing_twice(
    faulty: Registry, way: Way, fresh_name: str, request_line: str
) -> None:
    way.lose.add(request_line)
    uri = faulty.add_classifier(make_trained(fresh_name))
    assert way.lose == set()  # it was lost
    require_one_of_each(faulty, uri, fresh_name)


@pytest.mark.parametrize(
    "request_line",
    [
        "DELETE /api/2.0/mlflow/registered-models/alias",
        "DELETE /api/2.0/mlflow/model-versions/delete",
        "DELETE /api/2.0/mlflow/logged-models",
    ],
)
def test_a_lost_answer_does_not_stop_a_deletion(
    faulty: Registry, way: Way, fresh_name: str, request_line: str
) -> None:
    uri = faulty.add_classifier(make_trained(fresh_name))
    faulty.aliases.promote(uri, "champion")
    model_id = faulty.find(uri).model_id
    way.lose.add(f"{request_line}/{model_id}" if "logged" in request_line else request_line)
    faulty.delete(uri, drop_aliases=True, reason="not needed")
    assert way.lose == set()
    with pytest.raises(NotFoundError):
        faulty.find(uri)
    assert [one.is_done for one in faulty.aliases.history(fresh_name)] == [True, True]
    assert model_id not in {one.which for one in faulty.check(clear=False, load=False).leftovers}


def test_a_version_that_was_made_twice_is_settled(
    faulty: Registry, way: Way, fresh_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    way.double.add("POST /api/2.0/mlflow/model-versions/create")
    uri = faulty.add_classifier(make_trained(fresh_name))
    assert way.double == set()
    assert "made twice" in caplog.text
    require_one_of_each(faulty, uri, fresh_name)


def require_one_of_each(registry: Registry, uri: str, name: str) -> None:
    """Fail unless there is one version of a name, one LoggedModel, and one run, all closed."""
    version = registry.find(uri)
    assert [v.uri for v in registry.versions() if v.name == name] == [uri] == [f"models:/{name}/1"]
    client = MlflowClient(registry.tracking_uri)
    experiment: Any = client.get_experiment_by_name("patchbay")
    runs = client.search_runs(
        [experiment.experiment_id], f"attributes.run_name = 'training: {name}'"
    )
    assert [run.info.run_id for run in runs] == [version.run_id]
    assert runs[0].info.status == "FINISHED"
    outputs: Any = runs[0].outputs
    assert [model.model_id for model in outputs.model_outputs] == [version.model_id]
    history = client.get_metric_history(version.run_id, "epoch/loss")
    assert [(metric.step, metric.value) for metric in history] == [(0, 1.0), (1, 0.5)]
    models = client.search_logged_models(
        [experiment.experiment_id], filter_string=f"source_run_id = '{version.run_id}'"
    )
    assert [(m.model_id, str(m.status)) for m in models] == [(version.model_id, "READY")]
    registry.load(uri)
