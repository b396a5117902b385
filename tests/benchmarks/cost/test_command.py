"""``patchbay bench cost`` on the reference networks and on registered models."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.networks import random_module
from benchmarks.serving.subject import TOY, made_of_nothing
from modularizer.assembly.calibrations.minmax import MinMaxCalibration
from modularizer.cost import count_cost
from modularizer.records import (
    AppliedPatch,
    DecomposedClass,
    Decomposition,
    PatchedManifest,
    TrainedClassifier,
)
from registry.registry import Registry
from tests.patchbay.running import Ran, run_command

CALIBRATION = MinMaxCalibration(minimum=0, maximum=1)
PROVENANCE = made_of_nothing(0)


@dataclass(frozen=True)
class Home:
    """A registry with models of random weights: taken apart twice, in part, and not at all."""

    folder: Path
    registry: Registry
    whole: str
    partly: str
    never: str
    patched: str

    def run(self, *arguments: str) -> Ran:
        return run_command("bench", "cost", *arguments, "--home", str(self.folder))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("cost") / "home"
    registry = Registry.open(folder)
    strong = TOY.classifier(seed=0)
    cost = count_cost(strong.network, strong.preprocessing)

    def added(name: str) -> str:
        record = TrainedClassifier(name, "strong", strong, {}, [], cost, PROVENANCE)
        return registry.add_classifier(record)

    def take_apart(uri: str, outputs: tuple[int, ...], kept_share: float) -> list[str]:
        modules = [random_module(strong, n, kept_share=kept_share, seed=n) for n in outputs]
        parts = [
            DecomposedClass(
                one, {"minmax": CALIBRATION}, {}, count_cost(one.network, one.preprocessing)
            )
            for one in modules
        ]
        name = registry.find(uri).name
        record = Decomposition(name, parts, {}, [], PROVENANCE)
        return list(registry.add_decomposition(record, strong_uri=uri))

    whole, partly, never = added("whole"), added("partly"), added("never")
    take_apart(whole, (0, 1, 2), 1.0)
    module, *_ = take_apart(whole, (0, 1, 2), 0.5)
    take_apart(partly, (1,), 0.5)
    registry.aliases.promote(whole, "champion")
    patches = [AppliedPatch(module, "class 0", CALIBRATION)]
    patched = registry.add_patched(PatchedManifest("fixed", never, patches, {}, {}, PROVENANCE))
    return Home(folder, registry, whole, partly, never, patched)


def rows_of(found: Any, decomposition: str) -> dict[str, Any]:
    return {row["name"]: row for row in found["rows"] if row["decomposition"] == decomposition}


@pytest.mark.slow  # counts the networks at the paper's size
def test_the_reference_networks_have_the_paper_s_size(tmp_path: Path) -> None:
    out = tmp_path / "new" / "cost.json"
    ran = run_command("bench", "cost", "--json", "--out", str(out))
    assert ran.code == 0, ran.err
    found = ran.json
    assert json.loads(out.read_text()) == found
    assert all(one["masks"].startswith("random") for one in found["decompositions"])
    kept = {"simcnn-cifar": 2617, "simcnn-svhn": 2230, "rescnn-cifar": 2498, "rescnn-svhn": 2317}
    for suite, kernels in kept.items():
        rows = rows_of(found, suite)
        modules = [row for row in rows.values() if row["kind"] == "module"]
        assert len(modules) == (10 if suite.endswith("cifar") else 5)
        assert {row["kernels"] for row in modules} == {kernels}
        assert rows["strong"]["to_paper"]["kernels"] == 1
        for name in ("parameters", "multiply_adds"):
            assert rows["strong"]["to_paper"][name] == pytest.approx(1, abs=2e-4)
        mean = rows["mean module"]
        assert mean["to_paper"]["kernels"] == 1
        # A layer's cost goes with the product of what it and the one before it keep.
        assert mean["multiply_adds_share"] == pytest.approx(mean["kernels_share"] ** 2, abs=0.02)
        assert mean["to_paper"]["multiply_adds"] < 0.9
        assert rows["composed"]["multiply_adds"] == sum(row["multiply_adds"] for row in modules)
    simcnn, rescnn = (rows_of(found, one)["strong"] for one in ("simcnn-cifar", "rescnn-cifar"))
    assert (simcnn["kernels"], simcnn["parameters"]) == (4224, 15_245_130)
    assert (rescnn["kernels"], rescnn["parameters"]) == (4288, 16_010_122)
    assert round(simcnn["multiply_adds"] / 1e6, 2) == 313.73
    assert round(rescnn["multiply_adds"] / 1e6, 2) == 431.17
    assert all(one["agrees"] for one in found["published"])
    assert [one["name"] for one in found["implied"]] == list(kept)
    assert {"processor", "torch", "fvcore", "commit"} <= found["environment"].keys()


def test_a_toy_run_says_that_its_masks_are_random() -> None:
    ran = run_command("bench", "cost", "--toy", "--seed", "3")
    assert ran.code == 0, ran.err
    for text in ("simcnn-svhn (masks: random", "mean module", "composed", "agrees", "kept evenly"):
        assert text in ran.out
    assert "All masks of the reference networks are random" in ran.out
    assert "differs" not in ran.out


def test_a_registered_model_is_counted_with_its_newest_modules(home: Home) -> None:
    ran = home.run(home.whole, "--json")
    assert ran.code == 0, ran.err
    rows = rows_of(ran.json, home.whole)
    names = ["class 0", "class 1", "class 2"]
    assert list(rows) == ["strong", *names, "mean module", "composed"]
    for uri, row in [
        (home.whole, rows["strong"]),
        *((f"models:/whole.class~20{n}/2", rows[f"class {n}"]) for n in range(3)),
    ]:
        manifest = home.registry.manifest(uri)
        assert manifest.kind != "patched"
        listed = manifest.cost.model_dump()
        assert {name: row[name] for name in listed} == listed
        assert row["bundle_bytes"] == sum(one.size_bytes for one in manifest.files.values())
        assert row["weights_bytes"] <= manifest.files["weights.safetensors"].size_bytes
    assert {rows[name]["kernels"] for name in names} == {2 + 3}  # half of 4 and of 6
    total = sum(rows[name]["bundle_bytes"] for name in names)
    assert rows["composed"]["bundle_bytes"] == total
    assert rows["composed"]["paper"] is None
    assert ran.json["published"] == []
    assert ran.json["settings"] == {"model": home.whole}


def test_an_alias_is_counted_as_its_version_and_shown_as_a_table(home: Home) -> None:
    ran = home.run("models:/whole@champion")
    assert ran.code == 0, ran.err
    assert f"{home.whole} (masks: those of the registered class modules)" in ran.out
    assert "of the bundle" in ran.out
    assert "random" not in ran.out


def test_classes_without_a_module_are_named(home: Home) -> None:
    ran = home.run(home.partly)
    assert ran.code == 0, ran.err
    assert "no class module of class 0, class 2, so nothing is composed" in ran.out
    found = home.run(home.partly, "--json").json
    assert found["decompositions"][0]["missing_classes"] == ["class 0", "class 2"]
    assert list(rows_of(found, home.partly)) == ["strong", "class 1", "mean module"]


def test_decompositions_of_a_file_are_shown_beside_a_model(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "protocol.json"
    cat = {"class": "cat", "kernels": 5, "parameters": 50, "multiply_adds": 500}
    taken = {"kernels": 10, "multiply_adds": 1000, "classes": [cat, cat | {"class": "dog"}]}
    path.write_text(json.dumps({"decompositions": {"simcnn-cifar": taken}}))
    found = home.run(home.whole, "--decompositions", str(path), "--json").json
    rows = rows_of(found, "simcnn-cifar of protocol.json")
    assert rows["composed"]["multiply_adds"] == 1000
    assert rows["mean module"]["paper"]["kernels_share"] == pytest.approx(2617 / 4224)
    assert "weights" not in home.run(home.whole, "--decompositions", str(path)).out.split("dog")[1]


def refused(ran: Ran, *expected: str, code: int) -> None:
    assert ran.code == code
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert "defect" not in ran.err
    for text in expected:
        assert text in ran.err


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("whole", "expected an address such as models:/name/3"),
        ("models:/whole", "expected an address such as models:/name/3"),
        ("models:/whole/0", "expected an address such as models:/name/3"),
        ("models:/whole/9", "whole"),
        ("models:/whole@nothing", "nothing"),
        ("models:/nobody/1", "nobody"),
    ],
)
def test_a_wrong_address_is_refused(home: Home, model: str, expected: str) -> None:
    refused(home.run(model), expected, code=1)


def test_a_model_that_was_not_taken_apart_is_refused_with_the_command_that_does(
    home: Home, tmp_path: Path
) -> None:
    out = tmp_path / "cost.json"
    refused(
        home.run(home.never, "--out", str(out)),
        f"no class modules of {home.never}",
        f"`patchbay modularize {home.never} --data D`",
        code=1,
    )
    assert not out.exists()


def test_other_kinds_are_refused(home: Home) -> None:
    module = "models:/partly.class~201/1"
    refused(home.run(module), f"expected a strong model at {module}, found a class module", code=1)
    refused(home.run(home.patched), "expected a strong model", "found a patched model", code=1)


def test_a_home_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    ran = run_command("bench", "cost", "models:/whole/1", "--home", str(nowhere))
    refused(ran, "there is no registry in", code=1)
    assert not nowhere.exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("models:/a/1", "--width", "0.5"), "--width is of the reference networks"),
        (("models:/a/1", "--toy"), "--toy is of the reference networks"),
        (("models:/a/1", "--seed", "1"), "--seed is of the reference networks"),
        (("--home", "."), "--home goes with MODEL"),
        (("--toy", "--width", "0.5"), "--toy has a width of its own"),
        (("--width", "nan"), "not a finite number"),
        (("--width", "0.01"), "0.01 is not in the range"),
        (("--seed", "-1"), "-1 is not in the range"),
        (("--decompositions", "nowhere.json"), "does not exist"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments: tuple[str, ...], expected: str) -> None:
    refused(run_command("bench", "cost", *arguments), expected, code=2)


def test_a_file_that_holds_no_decompositions_is_refused_before_anything_is_counted(
    tmp_path: Path,
) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    ran = run_command("bench", "cost", "--decompositions", str(other))
    refused(ran, "expected decompositions as in a protocol.json", code=1)
