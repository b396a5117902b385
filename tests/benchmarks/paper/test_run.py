"""Steps in processes of their own: the same bits, and nothing lost when one ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from benchmarks.paper.experiment import Experiment, Means
from benchmarks.paper.run import HELD_OUT_LOG, Errand, Told, run_steps
from benchmarks.paper.track import Track
from benchmarks.paper.workspace import Step, Workspace
from modularizer.errors import DataError, ModularizerError
from tests.benchmarks.paper.conftest import TARGETS, tiny_track

pytestmark = pytest.mark.slow


def errands(experiment: Experiment, *names: str) -> list[Errand]:
    suite = experiment.track.suites[0]
    folder, images = experiment.workspace.folder, experiment.means.images
    steps = {step.name: step for step in experiment.steps()}
    return [
        Errand(suite, experiment.track.seed, images, steps[f"tiny-cifar/{name}"], folder, "cpu")
        for name in names
    ]


def same(first: Workspace, second: Workspace, step: Step) -> bool:
    one, other = first.read(step).tensors, second.read(step).tensors
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_processes_do_the_same_as_this_one(images: Path, done: Experiment, tmp_path: Path) -> None:
    experiment = Experiment(tiny_track(), tmp_path, Means(images=images, workers=2))
    told: list[Told] = []
    assert experiment.run(told.append)
    for step in experiment.steps():
        if step.work != "selection":
            assert same(experiment.workspace, done.workspace, step), step.name
    assert experiment.selected() == done.selected()
    chosen_at = (tmp_path / "selection" / "result.json").stat().st_mtime_ns
    for step in experiment.steps():
        place = tmp_path / step.name / "result.json"
        if step.work.startswith("held_out"):
            assert place.stat().st_mtime_ns > chosen_at, step.name
        elif step.work != "selection":
            assert place.stat().st_mtime_ns < chosen_at, step.name
    logged = (tmp_path / HELD_OUT_LOG).read_text().splitlines()
    assert len(logged) == 1 + len(TARGETS)
    for name in ("strong", *TARGETS):
        assert any(f"given out for tiny-cifar/held-out/{name} of" in line for line in logged)
    ended = [one.step for one in told if one.progress is None]
    assert len(ended) == len(set(ended)) == len(experiment.steps())
    counts = [(one.done, one.total) for one in told if one.progress is None]
    assert counts == [(number, len(ended)) for number in range(1, len(ended) + 1)]
    left = [one.seconds_left for one in told if one.seconds_left is not None]
    assert len(left) > len(told) / 2
    assert left[-1] == 0
    assert 0 not in left[:-1]
    assert not list(tmp_path.rglob("*.checkpoint"))


def longer(track: Track) -> Track:
    suite = track.suites[0]
    recipes = {
        name: recipe.model_copy(
            update={"training": recipe.training.model_copy(update={"epochs": 40})}
        )
        for name, recipe in (("strong", suite.strong), ("plain", suite.plain))
    }
    return track.model_copy(update={"suites": (suite.model_copy(update=recipes),)})


@pytest.mark.parametrize("step", ["strong", "weak/cat/plain"])
def test_a_time_limit_ends_at_an_epoch_and_the_next_run_goes_on(
    step: str, images: Path, tmp_path: Path
) -> None:
    limited = Experiment(longer(tiny_track()), tmp_path / "limited", Means(images=images))
    (errand,) = errands(limited, step)
    epochs: list[int] = []

    def listen(told: Told) -> None:
        if told.progress is not None:
            epochs.append(told.progress.done)

    runs = 0
    while not run_steps([errand], workers=1, seconds=0.0, told=listen):
        runs += 1
        assert epochs[-1] == runs  # an epoch a run, none of them twice
        if runs == 3:
            break
    assert run_steps([errand], workers=1, told=listen)
    assert epochs == list(range(1, 41))
    whole = Experiment(longer(tiny_track()), tmp_path / "whole", Means(images=images))
    assert run_steps(errands(whole, step), workers=1)
    assert same(limited.workspace, whole.workspace, errand.step)


def test_a_process_that_is_killed_is_told_and_nothing_is_lost(images: Path, tmp_path: Path) -> None:
    experiment = Experiment(longer(tiny_track()), tmp_path, Means(images=images))
    (errand,) = errands(experiment, "strong")

    def kill_children(told: Told) -> None:
        if told.progress is not None and told.progress.done == 5:
            for child in children():
                os.kill(child, signal.SIGKILL)

    with pytest.raises(ModularizerError, match="tiny-cifar/strong ended with exit code -9"):
        run_steps([errand], workers=1, told=kill_children)
    assert not experiment.workspace.is_done(errand.step)
    epochs = []
    assert run_steps(
        [errand],
        workers=1,
        told=lambda told: epochs.append(told.progress.done if told.progress else 0),
    )
    assert epochs[0] > 5
    assert epochs[-2:] == [40, 0]


def test_a_step_without_what_it_needs_is_refused(images: Path, tmp_path: Path) -> None:
    experiment = Experiment(tiny_track(), tmp_path, Means(images=images))
    with pytest.raises(ValueError, match="modules needs tiny-cifar/strong, which is not done"):
        run_steps(errands(experiment, "modules"), workers=1)


def children() -> list[int]:
    import multiprocessing

    return [child.pid for child in multiprocessing.active_children() if child.pid]


def test_an_error_of_a_step_reaches_whoever_asked(images: Path, tmp_path: Path) -> None:
    experiment = Experiment(tiny_track(), tmp_path / "work", Means(images=images))
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("cifar10.npz", "cifar100_subset.npz"):
        (broken / name).write_bytes(b"no archive")
    wrong = [
        Errand(one.suite, one.seed, broken, one.step, one.folder, one.device)
        for one in errands(experiment, *(f"weak/{target}/simple" for target in TARGETS))
    ]
    with pytest.raises(DataError, match="npz"):
        run_steps(wrong, workers=2)
    assert not children()
