"""The gate, the way back, the record of both, and what may be deleted, as commands."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modularizer.answers import Answers
from modularizer.settings import GateSettings
from patchbay.gating import judge_by_evidence
from registry.registry import Registry
from tests.patchbay.running import Ran, Shop, run_command
from tests.registry.conftest import CLASS_NAMES, make_decomposition, make_patched, make_trained

LABELS = np.repeat(np.arange(3), 100)
WEAK = np.where((LABELS == 0) & (np.arange(300) % 2 == 0), 1, LABELS)  # half of "zero" is missed
GOOD = LABELS
HARMFUL = np.where((LABELS == 2) & (np.arange(300) % 10 == 0), 0, LABELS)
TWO_MISSED = np.where((LABELS == 1) & (np.arange(300) % 50 == 0), 2, LABELS)  # traffic lights


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patched models whose stored answers are known: good, useless, harmful, and one without.

    Version 7 patches another class than the others.
    """
    home = tmp_path_factory.mktemp("gated") / "home"
    registry = Registry.open(home)
    strong = make_trained("strong")
    strong_uri = registry.add_classifier(strong)
    weak_uri = registry.add_classifier(make_trained("weak", kind="weak", seed=1))
    record = make_decomposition("strong", strong.classifier)
    zero, traffic_light, _ = registry.add_decomposition(record, strong_uri=strong_uri)

    def add(module: str, patched: np.ndarray | None, **changes: Any) -> None:
        answers = None if patched is None else Answers(CLASS_NAMES, LABELS, WEAK, patched).as_json()
        made = replace(make_patched("fixed", weak_uri, module), evidence={"answers": answers})
        registry.add_patched(replace(made, provenance=replace(made.provenance, **changes)))

    for patched in (GOOD, WEAK, HARMFUL, None, GOOD):
        add(zero, patched)
    add(zero, GOOD, data_fingerprint="cd" * 32)
    add(traffic_light, GOOD)
    add(zero, TWO_MISSED)
    return home


def run(home: Path, command: str, *arguments: str) -> Ran:
    return run_command(command, *arguments, "--home", str(home))


def champion(home: Path) -> str | None:
    shown = run(home, "show", "models:/fixed@champion", "--json")
    return None if shown.code else str(shown.json["uri"])


@pytest.fixture
def nothing_in_use(home: Path) -> None:
    """No alias, and no record of one."""
    with sqlite3.connect(home / "mlflow.db") as database:
        database.execute("delete from registered_model_aliases")
        database.execute("delete from tags where key = 'patchbay.name'")


@pytest.mark.usefixtures("nothing_in_use")
def test_a_patch_that_gains_is_promoted_by_the_evidence_stored_with_it(home: Path) -> None:
    ran = run(home, "promote", "models:/fixed/1", "--json")
    assert ran.code == 0, ran.err
    told = ran.json
    assert (told["uri"], told["previous"], told["promoted"]) == ("models:/fixed/1", None, True)
    assert told["gate"]["passed"]
    assert told["gate"]["basis"] == "the evidence stored with the version, 300 validation images"
    assert told["gate"]["classes"][0]["weak_f1"] == pytest.approx(2 / 3)
    assert champion(home) == "models:/fixed/1"


@pytest.mark.usefixtures("nothing_in_use")
@pytest.mark.parametrize(
    ("version", "reasons"),
    [
        (2, ["class zero is not shown to gain over the weak model"]),
        (3, ["the other classes lose 0.050 of their accuracy against the weak model"]),
        (4, ["was registered without images to judge it by; give --data"]),
    ],
)
def test_a_patch_that_does_not_pass_stays_out(home: Path, version: int, reasons: list[str]) -> None:
    ran = run(home, "promote", f"models:/fixed/{version}", "--json")
    assert ran.code == 4
    assert not ran.json["promoted"]
    assert len(ran.json["gate"]["reasons"]) == len(reasons)
    for told, expected in zip(ran.json["gate"]["reasons"], reasons, strict=True):
        assert expected in told
    shown = run(home, "promote", f"models:/fixed/{version}")
    assert shown.code == 4
    assert f"Refused: {ran.json['gate']['reasons'][0]}." in shown.out
    assert "models:/fixed@champion stays unset" in shown.out
    assert champion(home) is None


@pytest.mark.usefixtures("nothing_in_use")
def test_the_version_in_use_is_what_a_patch_is_compared_with(home: Path) -> None:
    assert run(home, "promote", "models:/fixed/1").code == 0
    harmful = run(home, "promote", "models:/fixed/3", "--json").json["gate"]
    assert harmful["compared_with"] == "models:/fixed/1"
    assert harmful["classes"][0]["current_f1"] == 1
    assert harmful["reasons"] == [
        "class zero loses 0.048 of its F1 against the model in use (1.000 > 0.952); "
        "0.01 may be lost",
        "the other classes lose 0.050 of their accuracy against the model in use "
        "(1.000 > 0.950); 0.01 may be lost",
    ]
    assert run(home, "promote", "models:/fixed/5").code == 0  # no worse, and gains on its own
    other_images = run(home, "promote", "models:/fixed/6", "--json")
    assert other_images.code == 4
    assert "is of other images" in other_images.json["gate"]["reasons"][0]


@pytest.mark.usefixtures("nothing_in_use")
def test_what_the_version_in_use_alone_patches_is_compared_by_f1(home: Path) -> None:
    assert run(home, "promote", "models:/fixed/7").code == 0
    ran = run(home, "promote", "models:/fixed/8", "--json")
    assert ran.code == 4
    gate = ran.json["gate"]
    assert gate["reasons"] == [
        "class traffic light, patched by the one in use alone, loses 0.010 of its F1 against the "
        "model in use (1.000 > 0.990); 0.01 may be lost"
    ]
    (lost,) = gate["lost_patches"]
    assert lost == {
        "name": "traffic light",
        "images": 100,
        "weak_f1": 0.8,
        "f1": 196 / 198,
        "current_f1": 1.0,
    }
    assert (gate["others_images"], gate["others_accuracy"]) == (100, 1)
    shown = run(home, "promote", "models:/fixed/8").out
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "F1 of traffic light, patched by the one in use alone 100 0.800 1.000 0.990" in lines
    assert run(home, "promote", "models:/fixed/1").code == 0  # does without that patch as well


@pytest.mark.usefixtures("nothing_in_use")
def test_a_model_in_use_of_other_classes_can_t_be_compared_with(home: Path) -> None:
    registry = Registry.open(home)
    version = registry.find("models:/fixed/1")
    other = replace(version, version=9, class_names=("zero", "eel", "traffic light"))
    judged = judge_by_evidence(registry, version, other, GateSettings())
    assert judged.reasons == (
        "it lacks eel and adds a/b, so it can't be compared with models:/fixed/9, which is in use",
    )
    assert (judged.passed, judged.verdict, judged.compared_with) == (False, None, other.uri)


@pytest.mark.usefixtures("nothing_in_use")
def test_thresholds_can_be_set_and_are_shown(home: Path) -> None:
    ran = run(home, "promote", "models:/fixed/3", "--max-loss", "0.05", "--gain-test", "mcnemar")
    assert ran.code == 0
    assert "McNemar's exact test (alpha 0.05)" in ran.out
    assert "losses of 0.05 at most" in " ".join(ran.out.split())


@pytest.mark.usefixtures("nothing_in_use")
def test_force_needs_a_reason_and_both_go_on_record(home: Path) -> None:
    assert run(home, "promote", "models:/fixed/3", "--force").code == 2
    assert run(home, "promote", "models:/fixed/3", "--force", "--reason", "  ").code == 2
    assert champion(home) is None
    assert run(home, "promote", "models:/fixed/1", "--reason", "first").code == 0
    forced = run(home, "promote", "models:/fixed/3", "--force", "--reason", "a demo", "--json")
    assert (forced.code, forced.json["forced"]) == (0, True)
    first, second = run(home, "history", "fixed", "--json").json
    assert (first["reason"], first["forced"], first["gate"]["passed"]) == ("first", False, True)
    assert (second["reason"], second["forced"]) == ("a demo", True)
    assert second["gate"]["reasons"] == forced.json["gate"]["reasons"]
    assert (second["before"], second["after"], second["done"]) == (1, 3, True)
    shown = run(home, "history", "fixed").out
    assert "refused, forced" in shown
    assert "a demo" in shown


@pytest.mark.usefixtures("nothing_in_use")
def test_rollback_goes_back_a_step_each_time(home: Path) -> None:
    for version in (1, 5):
        assert run(home, "promote", f"models:/fixed/{version}").code == 0
    back = run(home, "rollback", "fixed", "--reason", "slow", "--json")
    assert back.json == {
        "uri": "models:/fixed/1",
        "alias": "champion",
        "previous": "models:/fixed/5",
    }
    no_more = run(home, "rollback", "models:/fixed")
    assert no_more.code == 1
    assert "knows of no version before it" in no_more.err
    assert champion(home) == "models:/fixed/1"


@pytest.mark.usefixtures("nothing_in_use")
def test_what_stands_there_already_is_no_move(home: Path) -> None:
    assert run(home, "promote", "models:/fixed/1").code == 0
    again = run(home, "promote", "models:/fixed@champion")
    assert again.code == 0
    assert "is models:/fixed/1 already" in again.out
    assert len(run(home, "history", "fixed", "--json").json) == 1


@pytest.mark.parametrize(("option", "value"), [("--alpha", "nan"), ("--max-loss", "-1")])
@pytest.mark.usefixtures("nothing_in_use")
def test_a_wrong_threshold_is_refused_even_where_no_gate_is_asked(
    home: Path, option: str, value: str
) -> None:
    assert run(home, "promote", "models:/fixed/1").code == 0
    for uri in ("models:/fixed/1", "models:/weak/1"):
        ran = run(home, "promote", uri, option, value)
        assert (ran.code, ran.out) == (1, "")
        assert option[2:].replace("-", "_") in ran.err
    assert len(run(home, "history", "weak", "--json").json) == 0


@pytest.mark.parametrize("command", ["history", "rollback"])
def test_an_address_where_a_name_belongs_is_told_with_the_name(home: Path, command: str) -> None:
    for address in ("models:/fixed/1", "models:/fixed@champion"):
        ran = run(home, command, address)
        assert (ran.code, ran.out) == (1, "")
        assert f"such as fixed; found the address '{address}'" in ran.err
    assert "a model's name has" in run(home, command, "a/b").err


@pytest.mark.usefixtures("nothing_in_use")
def test_an_alias_that_was_never_moved_is_told_from_others(home: Path) -> None:
    assert "No alias of fixed was moved yet" in run(home, "history", "fixed").out
    assert run(home, "promote", "models:/fixed/1").code == 0
    ran = run(home, "history", "fixed", "--alias", "nowhere")
    assert (ran.code, ran.out) == (0, "No alias 'nowhere' of fixed was moved yet.\n")


def test_models_of_other_kinds_have_no_gate(home: Path) -> None:
    ran = run(home, "promote", "models:/weak/1", "--alias", "base", "--json")
    assert (ran.code, ran.json["gate"]) == (0, None)


def test_images_at_hand_judge_both_models(shop: Shop) -> None:
    ran = shop.run(
        *("promote", shop.patched, "--alias", "judged", "--data", "digits", "--json"),
        *("--force", "--reason", "to have one in use"),
    )
    assert ran.code == 0, ran.err
    gate = ran.json["gate"]
    assert gate["basis"].endswith("test images of digits")
    evaluated = shop.run("evaluate", shop.patched, "--data", "digits", "--json").json
    (one,) = evaluated["targets"]
    assert gate["classes"][0]["f1"] == one["patched"]["f1"]
    assert gate["classes"][0]["weak_f1"] == one["weak"]["f1"]
    assert gate["others_accuracy"] == one["patched"]["others_accuracy"]
    assert (gate["fixed"], gate["broken"]) == (one["fixes"], one["regressions"])
    again = shop.run(
        *("patch", shop.weak, "--with", shop.modules["1"], "--name", "patched", "--json"),
    )
    compared = shop.run(
        *("promote", again.json["uri"], "--alias", "judged", "--data", "digits"),
        *("--split", "validation", "--json"),
    ).json["gate"]
    assert compared["compared_with"] == shop.patched
    assert compared["classes"][0]["current_f1"] == compared["classes"][0]["f1"]
    assert (compared["fixed"], compared["broken"]) == (0, 0)


def test_split_without_images_is_refused(home: Path) -> None:
    ran = run(home, "promote", "models:/fixed/1", "--split", "validation")
    assert ran.code == 2
    assert "--split goes with --data" in ran.err


@pytest.mark.usefixtures("nothing_in_use")
def test_what_is_in_use_is_not_deleted(home: Path) -> None:
    assert run(home, "promote", "models:/fixed/1").code == 0
    refused = run(home, "delete", "models:/fixed/1")
    assert refused.code == 1
    assert "in use as models:/fixed@champion" in refused.err
    part = run(home, "delete", "models:/weak/1", "--drop-aliases", "--reason", "old")
    assert part.code == 1
    assert "is part of models:/fixed/1" in part.err
    assert run(home, "delete", "models:/fixed/1", "--drop-aliases").code == 2
    assert run(home, "delete", "models:/fixed/6", "--json").json["uri"] == "models:/fixed/6"
    assert run(home, "delete", "models:/fixed/6").code == 1


def test_check_tells_what_is_broken_and_what_was_left(home: Path) -> None:
    fine = run(home, "check", "--json")
    assert fine.code == 0
    assert fine.json["broken"] == []
    assert fine.json["leftovers"] == []
    assert fine.json["versions"] >= 9
    [weights] = (
        path
        for path in (home / "artifacts" / "models").glob("*/artifacts/weights.safetensors")
        if b'"weak"' in (path.parent / "bundle.json").read_bytes()
    )
    raw = weights.read_bytes()
    weights.write_bytes(raw[:-1])
    broken = run(home, "check", "--json")
    assert broken.code == 1
    assert {one["uri"] for one in broken.json["broken"]} >= {"models:/weak/1", "models:/fixed/1"}
    assert "expected" in broken.json["broken"][0]["reason"]
    assert "Broken: models:/weak/1" in run(home, "check").out
    assert run(home, "check", "--quick").code == 0
    weights.write_bytes(raw)


def test_a_model_goes_to_another_registry_and_answers_the_same(
    shop: Shop, tmp_path: Path, digit_files: Path
) -> None:
    file = tmp_path / "patched.patchbay"
    exported = shop.run("export", shop.patched, str(file), "--json").json
    assert exported["size_bytes"] == file.stat().st_size
    other = tmp_path / "other"
    imported = run(other, "import", str(file), "--json").json
    for there, here in zip(exported["versions"], imported["versions"], strict=True):
        for key in ("source", "digest", "files", "size_bytes"):
            assert there[key] == here[key]
        assert here["is_new"]
    patched = imported["versions"][-1]["uri"]
    answers = [
        run(home, "predict", uri, str(digit_files), "--json").json["predictions"]
        for home, uri in ((shop.home, shop.patched), (other, patched))
    ]
    assert answers[0] == answers[1]
    again = run(other, "import", str(file))
    assert again.code == 0
    assert "was here" in again.out
    (tmp_path / "no archive").write_text("x")
    refused = run(other, "import", str(tmp_path / "no archive"))
    assert refused.code == 1
    assert "no archive is refused" in refused.err


@pytest.mark.usefixtures("nothing_in_use")
def test_a_broken_model_in_use_can_be_replaced_by_force_and_on_record(home: Path) -> None:
    assert run(home, "promote", "models:/fixed/1").code == 0
    with sqlite3.connect(home / "mlflow.db") as database:
        change = "update model_version_tags set value = ? where name = 'fixed' and version = 1 and "
        change += "key = 'patchbay.metrics'"
        (kept,) = database.execute(
            "select value from model_version_tags where name = 'fixed' and version = 1 and "
            "key = 'patchbay.metrics'"
        ).fetchone()
        database.execute(change, ("broken",))
    refused = run(home, "promote", "models:/fixed/5", "--json")
    assert refused.code == 4
    assert "models:/fixed/1, which is in use, can't be read" in refused.json["gate"]["reasons"][0]
    forced = run(home, "promote", "models:/fixed/5", "--force", "--reason", "broken", "--json")
    assert (forced.code, forced.json["previous"]) == (0, "models:/fixed/1")
    assert champion(home) == "models:/fixed/5"
    with sqlite3.connect(home / "mlflow.db") as database:
        database.execute(change, (kept,))
    assert run(home, "check", "--quick").code == 0
