"""What MLflow's pages show of models: read back from the store as its pages read it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from registry.model_page import code, codes, link
from registry.registry import Registry
from tests.registry.conftest import (
    CLASS_NAMES,
    client_of,
    make_classifier,
    make_decomposition,
    make_patched,
    make_trained,
)

GAINS = {
    "validation_weak_f1": 0.5,
    "validation_f1_gain": 0.25,
    "validation_precision_gain": 0.125,
    "validation_recall_gain": -0.5,
    "validation_others_accuracy_gain": 0.0625,
}


def model_of(registry: Registry, uri: str) -> Any:
    return client_of(registry).get_logged_model(registry.find(uri).model_id)


def free_metrics(model: Any) -> dict[str, float]:
    return {one.key: one.value for one in model.metrics if one.dataset_name is None}


def registered(registry: Registry, name: str) -> tuple[str, list[str], str]:
    strong = registry.add_classifier(make_trained(f"{name}-s"))
    modules = registry.add_decomposition(
        make_decomposition(f"{name}-s", make_classifier()), strong_uri=strong
    )
    return strong, list(modules), registry.add_classifier(make_trained(f"{name}-w", kind="weak"))


def test_a_class_module_s_page_says_what_it_is_and_links_to_its_strong_model(
    registry: Registry, fresh_name: str
) -> None:
    strong, modules, _ = registered(registry, fresh_name)
    version = registry.find(modules[1])
    model = model_of(registry, version.uri)
    assert model.name == f"{fresh_name}-s class traffic light"
    assert model.params["class_name"] == "traffic light"
    assert model.params["strong"] == strong
    assert json.loads(model.tags["mlflow.modelVersions"]) == [
        {"name": version.name, "version": "1"}
    ]
    told = str(client_of(registry).get_model_version(version.name, "1").description)
    assert told == model.tags["mlflow.note.content"]
    assert f"(#/models/{fresh_name}-s/versions/1)" in told
    assert "`traffic light`" in told
    named = str(client_of(registry).get_registered_model(version.name).description)
    assert f"patchbay patch WEAK --with models:/{version.name}/VERSION" in named
    run = client_of(registry).get_run(version.run_id)
    assert all(link(uri) in run.data.tags["mlflow.note.content"] for uri in [strong, *modules])


def test_what_models_are_compared_by_names_no_data_set_and_the_rest_does(
    registry: Registry, fresh_name: str
) -> None:
    _, modules, _ = registered(registry, fresh_name)
    model = model_of(registry, modules[0])
    assert free_metrics(model) == {
        "composed_accuracy": 0.8,
        "kernels_kept": 20.0,
        "kernels": 32.0,
        "parameters": 1000.0,
        "multiply_adds": 2000.0,
    }
    (other,) = [one for one in model.metrics if one.dataset_name is not None]
    assert (other.key, other.dataset_name, other.dataset_digest) == ("diff", "digits", "ab" * 6)


def test_a_single_patch_s_gain_stands_with_its_module_and_names_run_and_data(
    registry: Registry, fresh_name: str
) -> None:
    _, modules, weak = registered(registry, fresh_name)
    record = replace(make_patched(f"{fresh_name}-p", weak, modules[0]), metrics=GAINS)
    patched = registry.find(registry.add_patched(record))
    expected = {
        "tc_f1_gain": 0.25,
        "tc_precision_gain": 0.125,
        "tc_recall_gain": -0.5,
        "others_accuracy_gain": 0.0625,
    }
    assert free_metrics(model_of(registry, patched.uri)) == expected
    module = model_of(registry, modules[0])
    assert expected.items() <= free_metrics(module).items()
    of_run = {one.key: one for one in module.metrics if one.run_id == patched.run_id}
    assert of_run.keys() == expected.keys() | {k for k in GAINS if k.endswith("gain")}
    assert of_run["validation_f1_gain"].dataset_name == "digits"
    (seen,) = [m for m in model_of(registry, weak).metrics if m.run_id == patched.run_id]
    assert (seen.key, seen.value) == ("validation_weak_f1", 0.5)
    assert not set(expected) & free_metrics(model_of(registry, modules[1])).keys()


def test_of_several_patches_no_module_has_the_gain(registry: Registry, fresh_name: str) -> None:
    _, modules, weak = registered(registry, fresh_name)
    record = replace(make_patched(f"{fresh_name}-p", weak, *modules[:2]), metrics=GAINS)
    patched = registry.find(registry.add_patched(record))
    assert free_metrics(model_of(registry, patched.uri))["tc_f1_gain"] == 0.25
    for uri in modules[:2]:
        assert all(one.run_id != patched.run_id for one in model_of(registry, uri).metrics)


def test_a_move_and_its_reason_can_be_read_on_its_run(registry: Registry, fresh_name: str) -> None:
    first = registry.add_classifier(make_trained(fresh_name))
    registry.aliases.promote(first, "tried", reason="because\nof `that`")
    (move,) = registry.aliases.history(fresh_name)
    told = client_of(registry).get_run(move.run_id).data.tags["mlflow.note.content"]
    assert f"Promotion of `@tried`: from none to {link(first)}." in told
    assert "Reason: `because of 'that'`" in told


def test_a_version_stands_even_if_its_pages_can_not_be_completed(
    registry: Registry,
    fresh_name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no")

    monkeypatch.setattr("registry.adding.link_model", fail)
    monkeypatch.setattr("registry.store.runs.RunLog.describe", fail)
    uri = registry.add_classifier(make_trained(fresh_name))
    assert registry.load_classifier(uri).class_names == CLASS_NAMES
    assert client_of(registry).get_run(registry.find(uri).run_id).info.status == "FINISHED"
    assert "not complete" in caplog.text


@pytest.mark.parametrize("text", ["a`b", "x\ny", "<b>", "[a](b)", "*", "", "n" * 500])
def test_anybody_s_text_stays_text_in_one_short_line(text: str) -> None:
    shown = code(text)
    assert shown[0] == shown[-1] == "`"
    assert len(shown) <= 62
    assert not set("`\n") & set(shown[1:-1])


def test_many_classes_are_counted() -> None:
    assert codes([str(i) for i in range(25)]).endswith("`19` and 5 more")
