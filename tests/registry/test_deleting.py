from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from registry.errors import BundleError, InUseError, NotFoundError, StoreError
from registry.registry import Registry
from registry.steps import Step
from registry.version import Version
from tests.registry.conftest import client_of, make_decomposition, make_patched, make_trained


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
    registry.aliases.promote(patched, "champion")
    for used, user in ((uris[0], patched), (weak_uri, patched), (strong_uri, uris[2])):
        with pytest.raises(InUseError, match=f"{used} is part of .*{user}"):
            registry.delete(used)
        with pytest.raises(InUseError, match="is part of"):
            registry.delete(used, drop_aliases=True)
    with pytest.raises(InUseError, match=f"in use as models:/{fresh_name}-patched@champion"):
        registry.delete(f"models:/{fresh_name}-patched@champion")
    registry.load(patched)
    registry.delete(patched, drop_aliases=True, reason="nobody serves it any more")
    last = registry.aliases.history(f"{fresh_name}-patched")[-1]
    assert last.before is not None
    assert (last.action, last.before.version, last.after) == ("removal", 1, None)
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
    client = client_of(registry)
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


def test_a_parent_that_is_deleted_meanwhile_leaves_no_version_without_it(
    registry: Registry, home: Path, fresh_name: str
) -> None:
    def on_step(step: Step) -> None:
        if step is Step.LINKED:
            registry.delete(strong_uri)

    strong = make_trained(fresh_name)
    strong_uri = registry.add_classifier(strong)
    at_work = Registry.open(home, on_step=on_step)
    record = make_decomposition(fresh_name, strong.classifier)
    with pytest.raises(NotFoundError, match=f"{strong_uri} was deleted while this was made"):
        at_work.add_decomposition(record, strong_uri=strong_uri)
    assert [one.uri for one in registry.versions() if one.name.startswith(fresh_name)] == []


def test_what_is_to_be_deleted_waits_for_a_version_that_is_being_made_from_it(
    registry: Registry, home: Path, fresh_name: str
) -> None:
    with ThreadPoolExecutor() as threads:

        def on_step(step: Step) -> None:
            if step is Step.NAMED and not asked:
                asked.append(threads.submit(registry.delete, strong_uri))
                with pytest.raises(TimeoutError):
                    asked[0].result(timeout=1)

        asked: list[Future[Version]] = []
        strong = make_trained(fresh_name)
        strong_uri = registry.add_classifier(strong)
        at_work = Registry.open(home, on_step=on_step)
        record = make_decomposition(fresh_name, strong.classifier)
        uris = at_work.add_decomposition(record, strong_uri=strong_uri)
        with pytest.raises(InUseError, match=f"is part of .*{uris[0]}"):
            asked[0].result(timeout=60)
    for uri in uris:
        registry.load(uri)


def test_a_version_that_can_not_be_read_is_a_user_all_the_same(
    registry: Registry, fresh_name: str
) -> None:
    strong = make_trained(fresh_name)
    strong_uri = registry.add_classifier(strong)
    record = make_decomposition(fresh_name, strong.classifier)
    first, *others = registry.add_decomposition(record, strong_uri=strong_uri)
    for uri in others:
        registry.delete(uri)
    client = client_of(registry)
    client.set_model_version_tag(registry.find(first).name, "1", "patchbay.metrics", "broken")
    assert registry.used_by(strong_uri) == []
    with pytest.raises(InUseError, match=f"{strong_uri} is part of {first}"):
        registry.delete(strong_uri)


def test_a_copy_that_mlflow_made_is_used_and_protected(
    registry: Registry, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = registry.add_classifier(make_trained(fresh_name))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.tracking_uri)  # where MLflow looks it up
    client_of(registry).copy_model_version(uri, f"{fresh_name}-prod")
    copy = f"models:/{fresh_name}-prod/1"
    client_of(registry).set_registered_model_alias(f"{fresh_name}-prod", "champion", "1")
    assert registry.load(f"models:/{fresh_name}-prod@champion").version.uri == copy
    broken = {one.uri for one in registry.check(clear=False, load=False).broken}
    assert not {uri, copy} & broken
    with pytest.raises(InUseError, match=f"{uri} is part of {copy}"):
        registry.delete(uri)
    registry.delete(copy, drop_aliases=True, reason="not needed")
    registry.load(uri)
    client_of(registry).copy_model_version(uri, f"{fresh_name}-prod")
    client_of(registry).delete_model_version(fresh_name, "1")
    with pytest.raises(BundleError, match=f"a copy of {uri}, which is gone"):
        registry.load(f"models:/{fresh_name}-prod/2")


def test_a_name_stays_also_if_it_was_not_marked_so(
    registry: Registry, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(store: object, name: str) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("registry.store.versions.keep_name", fail)
        uri = registry.add_classifier(make_trained(fresh_name))
    assert str(client_of(registry).get_logged_model(registry.find(uri).model_id).status) == "READY"
    registry.delete(uri)
    names = {one.which for one in registry.check(clear=True, load=False).leftovers}
    assert fresh_name not in names
    assert registry.add_classifier(make_trained(fresh_name)) == f"models:/{fresh_name}/2"


def test_an_interruption_after_a_version_was_made_leaves_its_model_ready(
    registry: Registry, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(store: object, name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("registry.store.versions.keep_name", interrupt)
    with pytest.raises(KeyboardInterrupt):
        registry.add_classifier(make_trained(fresh_name))
    version = registry.load(f"models:/{fresh_name}/1").version
    assert str(client_of(registry).get_logged_model(version.model_id).status) == "READY"


def test_a_lock_that_is_held_for_long_is_told(
    registry: Registry, home: Path, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.store.exclusive._LOCK_SECONDS", 0.1)
    uri = registry.add_classifier(make_trained(fresh_name))
    with (
        FileLock(home / "changes.lock"),
        pytest.raises(StoreError, match=r"changes\.lock for 0\.1 s; nothing was changed"),
    ):
        registry.delete(uri)
    registry.delete(uri)


def test_a_part_whose_name_was_changed_is_protected_all_the_same(
    registry: Registry, fresh_name: str
) -> None:
    strong = make_trained(fresh_name)
    strong_uri = registry.add_classifier(strong)
    record = make_decomposition(fresh_name, strong.classifier)
    first, *_ = registry.add_decomposition(record, strong_uri=strong_uri)
    client_of(registry).rename_registered_model(fresh_name, f"{fresh_name}-renamed")
    renamed = f"models:/{fresh_name}-renamed/1"
    with pytest.raises(InUseError, match=f"{renamed} is part of .*{first}"):
        registry.delete(renamed)
    client_of(registry).rename_registered_model(f"{fresh_name}-renamed", fresh_name)
    with pytest.raises(InUseError, match=f"{strong_uri} is part of .*{first}"):
        registry.delete(strong_uri)


def test_the_equal_of_what_an_archive_s_modules_were_made_from_is_not_their_part(
    registry: Registry, fresh_name: str, tmp_path: Path
) -> None:
    elsewhere = Registry.open(tmp_path / "elsewhere")
    strong = make_trained(fresh_name)
    strong_uri = elsewhere.add_classifier(strong)
    record = make_decomposition(fresh_name, strong.classifier)
    module_uri, *_ = elsewhere.add_decomposition(record, strong_uri=strong_uri)
    elsewhere.exchange.export_archive(module_uri, tmp_path / "archive")
    registry.exchange.import_archive(tmp_path / "archive")
    equal = registry.add_classifier(make_trained(f"{fresh_name}-equal"))
    assert registry.find(equal).digest == elsewhere.find(strong_uri).digest
    registry.delete(equal)
