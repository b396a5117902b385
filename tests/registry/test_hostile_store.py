"""A store that somebody else wrote to: each change is refused with its reason."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from mlflow import MlflowClient

from registry.errors import BundleError, NotFoundError, RegistryError
from registry.registry import Registry
from tests.registry.conftest import (
    make_classifier,
    make_decomposition,
    make_patched,
    make_trained,
)
from tests.registry.store.recording import recording_server


@pytest.fixture(autouse=True)
def _nothing_cached(home: Path) -> None:
    """What was copied before a change would hide it."""
    shutil.rmtree(home / "cache", ignore_errors=True)


@pytest.fixture
def client(registry: Registry) -> MlflowClient:
    return MlflowClient(registry.tracking_uri, registry.tracking_uri)


@pytest.fixture
def uri(registry: Registry, fresh_name: str) -> str:
    return registry.add_classifier(make_trained(fresh_name))


@pytest.fixture
def folder(registry: Registry, client: MlflowClient, uri: str) -> Path:
    """Where the version's files lie in the store."""
    location = client.get_logged_model(registry.find(uri).model_id).artifact_location
    return Path(unquote(urlparse(location).path))


def test_a_changed_byte_in_the_store_is_refused(registry: Registry, uri: str, folder: Path) -> None:
    path = folder / "weights.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(BundleError, match=rf"{uri} is refused: weights.safetensors was changed"):
        registry.load(uri)
    assert registry.find(uri).uri == uri


def test_a_bundle_that_vouches_for_its_own_change_is_refused(
    registry: Registry, uri: str, folder: Path
) -> None:
    plain = json.loads((folder / "bundle.json").read_bytes())
    plain["class_names"] = ["zero", "one", "two"]
    (folder / "bundle.json").write_text(json.dumps(plain))
    with pytest.raises(BundleError, match=r"bundle\.json was changed"):
        registry.load(uri)


def test_an_additional_file_in_the_store_is_refused(
    registry: Registry, uri: str, folder: Path
) -> None:
    (folder / "MLmodel").write_text("flavors: {python_function: {loader_module: os}}")
    with pytest.raises(BundleError, match="'MLmodel'"):
        registry.load(uri)


def test_a_missing_file_and_a_missing_folder_are_refused(
    registry: Registry, uri: str, folder: Path
) -> None:
    (folder / "weights.safetensors").unlink()
    with pytest.raises(BundleError, match=r"lacks 'weights\.safetensors'"):
        registry.load(uri)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with pytest.raises(BundleError, match="are gone"):
        registry.load(uri)


def test_a_link_in_the_store_is_not_followed(
    registry: Registry, uri: str, folder: Path, tmp_path: Path
) -> None:
    path = folder / "weights.safetensors"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="symbolic link"):
        registry.load(uri)


def test_a_pipe_in_the_store_is_not_waited_for(registry: Registry, uri: str, folder: Path) -> None:
    (folder / "history.json").unlink()
    os.mkfifo(folder / "history.json")
    with pytest.raises(BundleError, match="no plain file"):
        registry.load(uri)


def test_a_huge_manifest_is_refused_before_it_is_copied(
    registry: Registry, uri: str, folder: Path
) -> None:
    with (folder / "bundle.json").open("r+b") as file:
        file.truncate(2**40)  # sparse: takes no room here, but would be copied
    with pytest.raises(BundleError, match="at most"):
        registry.load(uri)


def test_huge_weights_are_refused_before_they_are_copied(
    registry: Registry, uri: str, folder: Path
) -> None:
    with (folder / "weights.safetensors").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(BundleError, match=r"expected .* bytes, found 1099511627776"):
        registry.load(uri)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("history.json", 64 * 2**20),
        ("evidence.json", 64 * 2**20),
        ("pictures/a.png", 32 * 2**20),
        ("anything", 32 * 2**20),
        ("weights.safetensors", None),
    ],
)
def test_files_that_no_bundle_needs_are_refused_before_they_are_copied(
    registry: Registry,
    client: MlflowClient,
    uri: str,
    folder: Path,
    home: Path,
    name: str,
    limit: int | None,
) -> None:
    """The whole store vouches for them: the listing, ``bundle.json`` and both digests."""
    if limit is None:
        state = make_classifier().network.state_dict()
        limit = 8 * 2**20 + 8 + sum(tensor.nbytes for tensor in state.values())
    (folder / name).parent.mkdir(exist_ok=True)
    with (folder / name).open("wb") as file:
        file.truncate(limit + 1)
    plain = json.loads((folder / "bundle.json").read_bytes())
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    plain["files"][name] = {"sha256": digest, "size_bytes": limit + 1}
    raw = json.dumps(plain).encode()
    (folder / "bundle.json").write_bytes(raw)
    version, digest = registry.find(uri), hashlib.sha256(raw).hexdigest()
    client.set_model_version_tag(version.name, "1", "patchbay.digest", digest)
    client.set_logged_model_tags(version.model_id, {"patchbay.digest": digest})
    with pytest.raises(BundleError, match=f"{name} has {limit + 1} bytes; .* at most {limit}$"):
        registry.load(uri)
    assert not (home / "cache" / "bundles").exists()
    assert registry.manifest(uri).files[name].size_bytes == limit + 1  # that is not copied


def test_a_changed_digest_tag_is_refused(
    registry: Registry, client: MlflowClient, uri: str
) -> None:
    version = registry.find(uri)
    client.set_model_version_tag(version.name, "1", "patchbay.digest", "0" * 64)
    with pytest.raises(BundleError, match="digests that the registry keeps"):
        registry.load(uri)


def test_digests_changed_in_both_places_are_refused(
    registry: Registry, client: MlflowClient, uri: str
) -> None:
    version = registry.find(uri)
    client.set_model_version_tag(version.name, "1", "patchbay.digest", "0" * 64)
    client.set_logged_model_tags(version.model_id, {"patchbay.digest": "0" * 64})
    with pytest.raises(BundleError, match=r"bundle\.json was changed"):
        registry.load(uri)


@pytest.mark.parametrize(
    ("tag", "value", "complaint"),
    [
        ("kind", "weak", "tags were changed"),
        ("kind", "pyfunc", "not registered by patchbay"),
        ("class_names", '["a"]', "tags were changed"),
        ("class_names", "not json", "can't be read"),
        ("class_names", "[" * 50_000, "can't be read"),
        ("metrics", "[]", "can't be read"),
        ("metrics", '{"a": 1' + "0" * 400 + "}", "can't be read"),
        ("class_names", "[]", "can't be read"),
        ("parents", "3", "can't be read"),
        ("digest", "../../../etc", "the digest is no SHA-256"),
    ],
)
def test_changed_tags_are_refused(
    registry: Registry, client: MlflowClient, uri: str, tag: str, value: str, complaint: str
) -> None:
    client.set_model_version_tag(registry.find(uri).name, "1", f"patchbay.{tag}", value)
    with pytest.raises(BundleError, match=complaint):
        registry.load(uri)


def test_one_version_with_broken_tags_does_not_hide_the_others(
    registry: Registry, client: MlflowClient, uri: str, fresh_name: str
) -> None:
    other = registry.add_classifier(make_trained(f"{fresh_name}-other"))
    client.set_model_version_tag(registry.find(uri).name, "1", "patchbay.metrics", "broken")
    listed = [version.uri for version in registry.versions()]
    assert other in listed
    assert uri not in listed
    client.set_model_version_tag(fresh_name, "1", "patchbay.metrics", "{}")


@pytest.mark.parametrize("source", ["{folder}", "file://{folder}", "/etc"])
def test_a_version_whose_source_is_no_logged_model_is_refused(
    registry: Registry,
    client: MlflowClient,
    uri: str,
    folder: Path,
    fresh_name: str,
    source: str,
) -> None:
    good = client.get_model_version(fresh_name, "1")
    client.create_model_version(
        fresh_name, source.format(folder=folder, name=fresh_name), tags=good.tags
    )
    with pytest.raises(BundleError, match=r"expected a source of the form models:/m-"):
        registry.load(f"models:/{fresh_name}/2")
    assert f"models:/{fresh_name}/2" not in {version.uri for version in registry.versions()}
    copy = f"models:/{fresh_name}/2"  # what MLflow copies leads to the same
    client.create_registered_model(f"{fresh_name}-copy")
    client.create_model_version(f"{fresh_name}-copy", copy, tags=good.tags)
    with pytest.raises(BundleError, match=r"expected a source of the form models:/m-"):
        registry.load(f"models:/{fresh_name}-copy/1")
    assert registry.load(uri).version.uri == uri


def test_a_copy_of_another_model_than_it_says_is_refused(
    registry: Registry, client: MlflowClient, uri: str, fresh_name: str
) -> None:
    other = registry.find(registry.add_classifier(make_trained(fresh_name, seed=9)))
    tags = client.get_model_version(fresh_name, str(other.version)).tags
    client.create_registered_model(f"{fresh_name}-copy")
    client.create_model_version(f"{fresh_name}-copy", uri, tags=tags)
    with pytest.raises(BundleError, match="is another model now"):
        registry.load(f"models:/{fresh_name}-copy/1")


def test_a_model_of_somebody_else_is_left_alone(
    registry: Registry, client: MlflowClient, fresh_name: str
) -> None:
    client.create_registered_model(fresh_name)
    client.create_model_version(fresh_name, "file:///nowhere")
    assert fresh_name not in {version.name for version in registry.versions()}
    with pytest.raises(BundleError, match="not registered by patchbay"):
        registry.load(f"models:/{fresh_name}/1")
    with pytest.raises(RegistryError, match="belongs to models of kind unknown"):
        registry.add_classifier(make_trained(fresh_name))


def test_a_part_that_was_replaced_is_not_used(
    registry: Registry, client: MlflowClient, fresh_name: str
) -> None:
    trained = make_trained(fresh_name)
    strong_uri = registry.add_classifier(trained)
    decomposition = make_decomposition(fresh_name, trained.classifier)
    uris = registry.add_decomposition(decomposition, strong_uri=strong_uri)
    patched = registry.add_patched(make_patched(f"{fresh_name}-patched", strong_uri, uris[0]))
    module, other = registry.find(uris[0]), registry.find(uris[1])
    client.set_model_version_tag(module.name, "1", "patchbay.digest", other.digest)
    with pytest.raises(BundleError, match=f"{uris[0]} is not what it was"):
        registry.load(patched)
    client.delete_model_version(module.name, "1")
    with pytest.raises(NotFoundError, match=module.name):
        registry.load(patched)


def test_a_bundle_of_another_model_is_refused(
    registry: Registry, uri: str, folder: Path, client: MlflowClient, fresh_name: str
) -> None:
    other = registry.add_classifier(make_trained(f"{fresh_name}-other", seed=5))
    location = client.get_logged_model(registry.find(other).model_id).artifact_location
    for name in ("bundle.json", "weights.safetensors"):
        (folder / name).write_bytes(Path(unquote(urlparse(location).path), name).read_bytes())
    with pytest.raises(BundleError, match=r"bundle\.json was changed"):
        registry.load(uri)


def test_a_downloaded_bundle_is_usable_without_patchbay(
    registry: Registry, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    from safetensors.torch import load_file

    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.tracking_uri)
    mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path))
    raw = (tmp_path / "bundle.json").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == registry.find(uri).digest
    assert load_file(tmp_path / "weights.safetensors").keys()


def change_database(registry: Registry, change: str, *values: str) -> None:
    database = registry.tracking_uri.removeprefix("sqlite:///")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(change, values)


@pytest.mark.parametrize(
    ("location", "complaint"),
    [
        ("http://{other}/api/2.0/mlflow-artifacts/artifacts", r"{other} are neither read"),
        ("mlflow-artifacts://{other}/x", r"{other} are neither read"),
        ("mlflow-artifacts:/x", "no server"),
        ("ftp://{other}/x", r"'ftp://{other}/x' are neither read"),
        ("s3://nowhere/x", "can.t be used"),  # without credentials for it
    ],
)
def test_files_that_lie_where_nothing_can_be_read_are_refused(
    registry: Registry,
    uri: str,
    location: str,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    with recording_server() as other:
        change = "update logged_models set artifact_location = ? where model_id = ?"
        model_id = registry.find(uri).model_id
        change_database(registry, change, location.format(other=other.host), model_id)
        with pytest.raises(RegistryError, match=complaint.format(other=other.host)):
            registry.load(uri)
    assert other.requests == []


def test_models_are_not_sent_to_another_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    registry = Registry.open(tmp_path)
    uri = registry.add_classifier(make_trained("model"))
    with recording_server() as other:
        elsewhere = f"http://{other.host}/api/2.0/mlflow-artifacts/artifacts"
        change_database(registry, "update experiments set artifact_location = ?", elsewhere)
        change_database(registry, "update runs set artifact_uri = ?", elsewhere)
        for attempt in (
            lambda: registry.add_classifier(make_trained("another")),
            lambda: registry.aliases.promote(uri, "champion", verdict={"passed": True}),
            lambda: registry.add_pictures(uri, [tmp_path / "a.png"]),
            lambda: registry.pictures(registry.find(uri)),
        ):
            with pytest.raises(BundleError, match=f"{other.host} are neither read nor written"):
                attempt()
    assert other.requests == []
    assert [version.uri for version in registry.versions()] == [uri]
    assert registry.find(uri).aliases == ()
