"""Listing versions: what the store is asked for, and how long it takes where there are many."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import pytest

from registry.registry import Registry
from registry.store.client import as_global_address, open_store
from registry.store.versions import list_versions
from tests.registry.conftest import make_classifier, make_decomposition, make_patched, make_trained
from tests.registry.timing import require_within

AIM_SECONDS = 2.0


def test_a_kind_is_listed_as_it_is_among_all(registry: Registry, fresh_name: str) -> None:
    strong = registry.add_classifier(make_trained(fresh_name))
    modules = registry.add_decomposition(
        make_decomposition(fresh_name, make_classifier()), strong_uri=strong
    )
    registry.aliases.promote(modules[0], "chosen")
    everything = registry.versions()
    for kind in ("strong", "weak", "class_module", "patched"):
        of_kind = [one for one in everything if one.kind == kind]
        assert list_versions(registry._store, kind) == of_kind  # with aliases, in the same order
    assert {"chosen"} == {
        alias for one in registry.versions("class_module") if one.uri in modules
        for alias in one.aliases
    }  # fmt: skip


def test_users_are_told_from_those_of_names_that_look_alike(
    registry: Registry, fresh_name: str
) -> None:
    """In the store's search for text an underscore stands for any letter."""
    names = [f"{fresh_name}_a", f"{fresh_name}-a"]
    weak = [registry.add_classifier(make_trained(name, kind="weak")) for name in names]
    strong = registry.add_classifier(make_trained(f"{fresh_name}-strong"))
    module = registry.add_decomposition(
        make_decomposition(f"{fresh_name}-strong", make_classifier()), strong_uri=strong
    )[0]
    patched = [
        registry.add_patched(make_patched(f"{name}-patched", uri, module))
        for name, uri in zip(names, weak, strict=True)
    ]
    for uri, users in zip(weak, patched, strict=True):
        assert [one.uri for one in registry.used_by(uri)] == [users]
    assert {one.uri for one in registry.used_by(module)} == set(patched)
    assert registry.used_by(patched[0]) == []


def test_users_are_told_with_their_aliases_whether_or_not_they_begin_alike(
    registry: Registry, fresh_name: str
) -> None:
    strong = registry.add_classifier(make_trained(f"{fresh_name}_s"))
    modules = registry.add_decomposition(
        make_decomposition(f"{fresh_name}_s", make_classifier()), strong_uri=strong
    )
    patched = [
        registry.add_patched(make_patched(name, strong, modules[0]))
        for name in (f"Z.{fresh_name}", f"a-{fresh_name}")
    ]
    chosen = [modules[0], modules[-1], *patched]
    for number, uri in enumerate(chosen):
        registry.aliases.promote(uri, f"chosen-{number}")
    found = {one.uri: one.aliases for one in registry.used_by(strong)}
    assert found == dict.fromkeys(modules, ()) | {
        uri: (f"chosen-{number}",) for number, uri in enumerate(chosen)
    }
    of_module = {one.uri: one.aliases for one in registry.used_by(modules[0])}
    assert of_module == {patched[0]: ("chosen-2",), patched[1]: ("chosen-3",)}
    elsewhere = registry.add_classifier(make_trained(f"{fresh_name}-other"))
    alike = registry.add_decomposition(
        make_decomposition(f"{fresh_name}-other", make_classifier()), strong_uri=elsewhere
    )
    registry.aliases.promote(alike[1], "chosen")
    assert {one.uri: one.aliases for one in registry.used_by(elsewhere)} == {
        uri: ("chosen",) * (uri == alike[1]) for uri in alike
    }


@pytest.mark.slow
@pytest.mark.timed
def test_a_thousand_class_modules_are_listed_in_two_seconds(tmp_path: Path) -> None:
    """As many names as versions, which is the slowest to list; copies of tags that are real."""
    registry = Registry.open(tmp_path / "home")
    strong = registry.add_classifier(make_trained("strong"))
    record = make_decomposition("strong", make_classifier())
    registry.add_decomposition(record, strong_uri=strong)
    store = open_store(tmp_path / "home")
    modules = [
        store.client.get_model_version(one.name, str(one.version))
        for one in registry.versions("class_module")
    ]
    wanted = 1000 - len(modules)
    for number in range(wanted):
        made = modules[number % len(modules)]
        name = f"strong-{number}.{made.name.partition('.')[2]}"
        store.client.create_registered_model(name, tags={"patchbay.kind": "class_module"})
        model = store.client.create_logged_model(store.experiment_id, name="copy")
        store.client.finalize_logged_model(model.model_id, "READY")
        with as_global_address(store):
            store.client.create_model_version(
                name,
                source=f"models:/{model.model_id}",
                run_id=made.run_id,
                tags=dict(made.tags),
                model_id=model.model_id,
            )
    seconds = []
    for _ in range(3):
        began = perf_counter()
        found = registry.versions("class_module")
        seconds.append(perf_counter() - began)
        assert len(found) == 1000
    assert len(registry.used_by(strong)) == 1000
    require_within(AIM_SECONDS, seconds, "listing 1,000 class modules")
