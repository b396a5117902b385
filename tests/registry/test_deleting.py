from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from registry.errors import InUseError, NotFoundError
from registry.registry import Registry
from tests.registry.conftest import make_decomposition, make_patched, make_trained


def test_a_version_that_nobody_uses_goes_with_its_files(
    registry: Registry, fresh_name: str, home: Path
) -> None:
    uri = registry.add_classifier(make_trained(fresh_name))
    model_id = registry.find(uri).model_id
    folder = home / "artifacts" / "models" / model_id
    assert folder.is_dir()
    assert registry.delete(uri).uri == uri
    with pytest.raises(NotFoundError):
        registry.find(uri)
    assert not folder.exists()
    left = registry.check(clear=False, load=False).leftovers
    assert not [one for one in left if model_id in one.which]


def test_the_number_of_a_deleted_version_is_not_given_again(
    registry: Registry, fresh_name: str
) -> None:
    registry.delete(registry.add_classifier(make_trained(fresh_name)))
    registry.check(clear=True, load=False)
    assert registry.add_classifier(make_trained(fresh_name)) == f"models:/{fresh_name}/2"


def test_a_version_in_use_is_refused_and_its_users_are_named(
    registry: Registry, fresh_name: str
) -> None:
    strong = make_trained(fresh_name)
    strong_uri = registry.add_classifier(strong)
    weak_uri = registry.add_classifier(make_trained(f"{fresh_name}-weak", kind="weak", seed=1))
    record = make_decomposition(fresh_name, strong.classifier)
    uris = registry.add_decomposition(record, strong_uri=strong_uri)
    patched = registry.add_patched(make_patched(f"{fresh_name}-patched", weak_uri, uris[0]))
    registry.promote(patched, "champion")
    for used, user in ((uris[0], patched), (weak_uri, patched), (strong_uri, uris[2])):
        with pytest.raises(InUseError, match=f"{used} is part of .*{user}"):
            registry.delete(used)
        with pytest.raises(InUseError, match="is part of"):
            registry.delete(used, drop_aliases=True)
    with pytest.raises(InUseError, match=f"in use as models:/{fresh_name}-patched@champion"):
        registry.delete(f"models:/{fresh_name}-patched@champion")
    registry.load(patched)
    registry.delete(patched, drop_aliases=True, reason="nobody serves it any more")
    last = registry.history(f"{fresh_name}-patched")[-1]
    assert (last.action, last.before, last.after) == ("removal", 1, None)
    assert last.reason == "nobody serves it any more"
    registry.delete(uris[0])
    registry.delete(weak_uri)
    with pytest.raises(InUseError, match="is part of"):
        registry.delete(strong_uri)


def test_one_of_two_versions_of_one_logged_model_goes_and_the_other_stays(
    registry: Registry, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = registry.add_classifier(make_trained(fresh_name, seed=5))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.tracking_uri)  # where MLflow looks it up
    client = MlflowClient(registry.tracking_uri, registry.tracking_uri)
    model_id = registry.find(uri).model_id
    tags = client.get_model_version(fresh_name, "1").tags
    client.create_model_version(fresh_name, f"models:/{model_id}", tags=tags, model_id=model_id)
    double = f"models:/{fresh_name}/2"
    broken = {one.uri: one.reason for one in registry.check(clear=False, load=False).broken}
    assert f"made from the LoggedModel of {uri}" in broken[double]
    registry.delete(double)
    assert registry.load(uri).version.uri == uri
    assert double not in {one.uri for one in registry.check(clear=True, load=False).broken}
    registry.load(uri)
