from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.paper import steps
from benchmarks.paper.experiment import Experiment, Means
from benchmarks.paper.results import MODELS, SUMMARY, TABLES
from benchmarks.paper.rows import ROWS
from benchmarks.paper.run import Told
from benchmarks.paper.selection import chosen_for_each, fits_of, select
from benchmarks.paper.track import KINDS, TRACKS, load_track
from modularizer.datasets.held_out import HeldOut
from modularizer.metrics import METRICS
from modularizer.patching import best_of, judge
from modularizer.rules import REPLACEMENTS, STACKINGS, RuleName
from tests.benchmarks.paper.conftest import TARGETS, do_here, tiny_track


def test_a_finished_experiment_is_not_done_again(done: Experiment) -> None:
    again = Experiment(done.track, done.workspace.folder, done.means)
    told: list[Told] = []
    assert again.run(told.append)
    assert told == []


def test_choices_are_made_of_validation_scores_alone(
    images: Path, done: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other held-out images, and none that may be opened, every choice is the same."""
    other = tmp_path / "images"
    shutil.copytree(images, other)
    for name in ("cifar10.npz", "cifar100_subset.npz"):
        with np.load(other / name) as file:
            arrays = dict(file)
        arrays["test_images"] = 255 - arrays["test_images"]
        np.savez(other / name, **arrays)

    def refuse(_: HeldOut, purpose: str) -> None:
        raise AssertionError(f"held-out images were asked for: {purpose}")

    monkeypatch.setattr(HeldOut, "open", refuse)
    blind = Experiment(done.track, tmp_path / "blind", Means(images=other))
    with pytest.raises(AssertionError, match="tiny-cifar/held-out/strong"):
        do_here(blind)
    assert blind.workspace.is_done(blind.selection)
    assert blind.selected() == done.selected()
    for step, other_step in zip(done.steps(), blind.steps(), strict=True):
        judges = step.work.startswith("held_out")
        assert (step.fingerprint == other_step.fingerprint) != judges, step.name


def test_other_rules_are_another_selection(
    done: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [replace(row, rule=RuleName("logistic", caution=4)) for row in ROWS[:1]]
    monkeypatch.setattr(steps, "ROWS", (*rows, *ROWS[1:]))
    again = Experiment(done.track, done.workspace.folder, done.means)
    stale = [step.name for step in again.steps() if not again.workspace.is_done(step)]
    assert stale == ["selection", *(f"tiny-cifar/held-out/{one}" for one in ("strong", *TARGETS))]


def test_strong_networks_come_first_then_their_modules(images: Path, tmp_path: Path) -> None:
    track = tiny_track()
    (suite,) = track.suites
    twice = track.model_copy(
        update={"suites": (suite, suite.model_copy(update={"name": "other-cifar"}))}
    )
    names = [step.name for step in Experiment(twice, tmp_path, Means(images=images)).steps()]
    assert names[:5] == [
        "tiny-cifar/strong",
        "other-cifar/strong",
        "tiny-cifar/modules",
        "other-cifar/modules",
        "tiny-cifar/weak/cat/simple",
    ]
    known: set[str] = set()
    for step in Experiment(twice, tmp_path, Means(images=images)).steps():
        assert {need.name for need in step.needs} <= known, step.name
        known.add(step.name)


def test_a_part_shares_what_was_trained_and_leaves_the_whole_as_it_is(
    done: Experiment, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(done.workspace.folder, folder)
    part = Experiment(done.track, folder, done.means, only=["*/ship"])
    open_steps = [step.name for step in part.steps() if not part.workspace.is_done(step)]
    place = "parts/tiny-cifar.ship"
    assert open_steps == [
        f"{place}/selection",
        f"{place}/tiny-cifar/held-out/strong",
        f"{place}/tiny-cifar/held-out/ship",
    ]
    assert part.results == folder / place / "results"
    do_here(part)
    assert set(part.selected()["rows"]["paper"]["models"]) == {
        f"tiny-cifar/ship/{kind}" for kind in KINDS
    }
    whole = Experiment(done.track, folder, done.means, only=["*"])
    assert all(whole.workspace.is_done(step) for step in whole.steps())
    assert whole.results == folder / "results"
    assert whole.selected() == done.selected()


def test_parts_of_several_models_have_places_of_their_own(images: Path, tmp_path: Path) -> None:
    (suite,) = tiny_track().suites
    three = suite.model_copy(update={"targets": ("cat", "ship", "dog")})
    track = tiny_track().model_copy(update={"suites": (three,)})
    places = {
        Experiment(track, tmp_path, Means(images=images), only=only).results
        for only in (["*/cat", "*/ship"], ["*/ship", "*/cat"], ["*/cat", "*/dog"])
    }
    assert len(places) == 2
    assert all(place.parent.name.startswith("tiny-cifar.cat+1-") for place in places)


@pytest.mark.parametrize("name", TRACKS)
def test_a_track_that_comes_with_the_benchmark_fits_its_form(name: str) -> None:
    assert load_track(name).name == name


def test_no_held_out_image_is_scored_before_every_choice_is_written(done: Experiment) -> None:
    held_out = [step for step in done.steps() if step.work.startswith("held_out")]
    assert len(held_out) == 1 + len(TARGETS)
    for step in held_out:
        assert done.selection in step.needs
    place = done.workspace.folder
    chosen_at = (place / "selection" / "result.json").stat().st_mtime_ns
    for step in held_out:
        assert (place / step.name / "result.json").stat().st_mtime_ns > chosen_at
    before = [step for step in done.steps() if step not in held_out and step is not done.selection]
    assert not any(step.work.startswith("held_out") for one in before for step in one.needs)


def test_every_row_is_fitted_to_every_weak_model(done: Experiment) -> None:
    selected = done.selected()
    expected = {f"tiny-cifar/{target}/{kind}" for target in TARGETS for kind in KINDS}
    assert set(selected["rows"]) == {row.key for row in ROWS}
    for row in selected["rows"].values():
        assert set(row["models"]) == expected
    assert selected["chosen"]["paper"] == "paper"
    candidates = {row.key for row in ROWS if row.purpose == "candidate"}
    assert selected["chosen"]["best"] in candidates
    replacing = {row.key for row in ROWS if row.purpose == "candidate" and row.replaces}
    assert selected["chosen"]["best_replacement"] in replacing
    assert select(done.validation_scores()) == selected


def test_what_is_chosen_for_each_model_is_what_the_command_would_choose(done: Experiment) -> None:
    (scores,) = done.validation_scores()
    names = done.workspace.read(done.suites[0].scores["cat"]).facts["class_names"]
    selected = done.selected()["rows"]["auto-stack"]["models"]
    for kind in KINDS:
        given = scores.given("cat", kind, "modules")
        stored = [scores.stored("cat", "modules")]
        rules = (*REPLACEMENTS, *STACKINGS)
        best = best_of(judge(rule, stored, given, tuple(names)) for rule in rules)
        found = selected[f"tiny-cifar/cat/{kind}"]
        if best is None:
            assert found["patched"] == found["weak"]
        else:
            assert found["fusion"] == best.rule.fusion.model_dump(mode="json")
            assert found["patched"]["f1"] == pytest.approx(best.evaluations[0].patched.f1)


def test_where_nothing_gains_the_weak_model_stays_as_it_is(done: Experiment) -> None:
    (scores,) = done.validation_scores()
    worse = {"weak": dict.fromkeys(METRICS, 0.5), "patched": dict.fromkeys(METRICS, 0.4)}
    models = chosen_for_each([{"tiny-cifar/cat/simple": worse}])
    assert models["tiny-cifar/cat/simple"]["patched"] == worse["weak"]
    rule = fits_of({"rows": {"auto": {"models": models}}})["auto"]["tiny-cifar/cat/simple"]
    given = scores.given("cat", "simple", "modules")
    expected = given.weak_logits.softmax(dim=1)
    assert torch.allclose(rule.scores(given), expected, atol=1e-6)


def test_under_and_overfitting_models_are_epochs_of_one_run(done: Experiment) -> None:
    models = done.models()
    for target in TARGETS:
        (plain,) = (
            done.workspace.read(step)
            for step in done.steps()
            if step.name == f"tiny-cifar/weak/{target}/plain"
        )
        assert models[f"tiny-cifar/{target}/overfitting"]["epoch"] == 5
        half = max(1, plain.facts["best_epoch"] // 2)
        assert models[f"tiny-cifar/{target}/underfitting"]["epoch"] == half
        assert {key.partition("/")[0] for key in plain.tensors} == {"underfitting", "last"}


def test_scores_are_those_of_the_networks_they_are_said_to_be_of(done: Experiment) -> None:
    (validation,), (held_out,) = done.validation_scores(), done.held_out_scores()
    assert held_out.targets == TARGETS
    for scores, images_of_target in ((validation, 10), (held_out, 20)):
        given = scores.given("ship", "simple", "modules")
        assert given.columns == (9,)
        assert (given.labels == 9).sum() == images_of_target
    strong = validation.strong_scores("strong").argmax(dim=1).numpy()
    accuracy = float((strong == validation.strong_labels()).mean())
    (facts,) = done.decompositions().values()
    assert accuracy == pytest.approx(facts["strong_accuracy"], abs=0.011)
    composed = validation.strong_scores("modules").argmax(dim=1).numpy()
    found = float((composed == validation.strong_labels()).mean())
    assert found == pytest.approx(facts["composed_accuracy"], abs=0.011)
    kept = [one["kernels"] for one in facts["classes"]]
    assert max(kept) <= 0.6 * facts["kernels"]


def test_the_summary_holds_what_others_look_for(results: Path) -> None:
    summary = json.loads((results / SUMMARY).read_text())
    for name in ("best", "best_replacement", "paper"):
        found = summary[name]
        for key in ("precision_gain", "recall_gain", "f1_gain", "others_gain"):
            assert -1 <= found[key] <= 1
            low, high = found[f"{key}_interval"]
            assert low <= found[key] <= high
        for key in ("recall_gain_by_kind", "f1_gain_by_kind"):
            assert set(found[key]) == set(KINDS)
            assert np.mean(list(found[key].values())) == pytest.approx(
                found[key.removesuffix("_by_kind")]
            )
        assert 0 <= found["others_better_share"] <= 1
    for key in ("composed_loss", "kernels_kept", "diff"):
        assert -1 <= summary[key] <= 1
    models = json.loads((results / MODELS).read_text())
    assert {len(found) for found in models.values()} == {6}
    gains = [one["patched"]["f1"] - one["weak"]["f1"] for one in models["paper"]]
    assert np.mean(gains) == pytest.approx(summary["paper"]["f1_gain"])


def test_tables_and_pictures_are_there(results: Path) -> None:
    text = (results / TABLES).read_text()
    for number in range(1, 8):  # one suite; each further one is a table more
        assert f"## {number}. " in text
    assert "## 8. " not in text
    assert "min-max (the paper's)" in text
    assert "stacked *" in text
    assert "not achievable" in text
    assert "CNNSplitter, mean of 12 cells, as published | - | +12.54 | +2.05 | +7.52" in text
    for picture in ("f1-by-class.png", "calibration-curves.png"):
        assert (results / picture).stat().st_size > 10_000


def test_a_step_is_done_again_when_what_makes_it_changes(done: Experiment) -> None:
    suite = done.track.suites[0]
    longer = suite.simple.model_copy(
        update={"training": suite.simple.training.model_copy(update={"epochs": 6})}
    )
    changed = tiny_track().model_copy(
        update={"suites": (suite.model_copy(update={"simple": longer}),)}
    )
    other = Experiment(changed, done.workspace.folder, done.means)
    stale = {step.name for step in other.steps() if not other.workspace.is_done(step)}
    assert stale == {
        *(f"tiny-cifar/weak/{target}/simple" for target in TARGETS),
        *(f"tiny-cifar/validation/{target}" for target in TARGETS),
        "selection",
        "tiny-cifar/held-out/strong",
        *(f"tiny-cifar/held-out/{target}" for target in TARGETS),
    }


def test_a_result_that_was_changed_is_not_read(done: Experiment, tmp_path: Path) -> None:
    copy = Experiment(done.track, tmp_path / "copy", done.means)
    shutil.copytree(done.workspace.folder, tmp_path / "copy")
    step = copy.suites[0].strong
    place = tmp_path / "copy" / step.name / "tensors.safetensors"
    raw = bytearray(place.read_bytes())
    raw[-1] ^= 1
    place.write_bytes(raw)
    with pytest.raises(FileNotFoundError, match="is not what was kept"):
        copy.workspace.read(step)


@pytest.mark.parametrize("change", ["{}", "[", "", '{"fingerprint": 1}', "facts"])
def test_a_result_whose_facts_were_changed_is_not_there(
    change: str, done: Experiment, tmp_path: Path
) -> None:
    copy = Experiment(done.track, tmp_path / "copy", done.means)
    shutil.copytree(done.workspace.folder, tmp_path / "copy")
    step = copy.suites[0].modules
    place = tmp_path / "copy" / step.name / "result.json"
    if change == "facts":
        about = json.loads(place.read_text())
        about["facts"]["diff"] = 0.99
        change = json.dumps(about)
    place.write_text(change)
    assert not copy.workspace.is_done(step)
    assert copy.workspace.seconds(step) == 0
