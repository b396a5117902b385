"""A track of minutes' size on made images, done once in this process for all tests."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.paper.experiment import Experiment, Means
from benchmarks.paper.images import TrackImages
from benchmarks.paper.results import write_results
from benchmarks.paper.selection import select
from benchmarks.paper.track import Track
from benchmarks.paper.work import Job, perform
from benchmarks.paper.workspace import Result
from modularizer.datasets.weak_sets import CIFAR10_CLASSES, CIFAR100_WEAK
from modularizer.progress import ignore_progress

TARGETS = ("cat", "ship")


def write_images(path: Path, names: tuple[str, ...], train: int, test: int, seed: int) -> None:
    """Coarse patterns, one a class, under so much noise that some are taken for others."""
    generator = np.random.default_rng(seed)
    patterns = generator.integers(60, 196, (len(names), 4, 4, 3))
    arrays: dict[str, Any] = {}
    for part, per_class in (("train", train), ("test", test)):
        labels = np.tile(np.arange(len(names), dtype=np.uint8), per_class)
        coarse = patterns[labels] + generator.normal(0, 45, (len(labels), 4, 4, 3))
        images = coarse.repeat(8, axis=1).repeat(8, axis=2)
        images += generator.normal(0, 30, images.shape)
        arrays[f"{part}_labels"] = labels
        arrays[f"{part}_images"] = images.clip(0, 255).astype(np.uint8)
    np.savez(path, class_names=np.array(names), **arrays)


TINY = """
name = "tiny"
seed = 0

[[suites]]
name = "tiny-cifar"
dataset = "cifar"
target_test_images = 10
targets = ["cat", "ship"]

[suites.strong.architecture]
name = "simcnn"
arguments = { stages = [[6], [8], [8]], hidden = [12], dropout = 0.1 }
[suites.strong.training]
epochs = 5
batch_size = 16
learning_rate = 0.05
schedule = "one-cycle"

[suites.modules]
search = "gradient"
kernels_budget = 0.6
gradient_epochs = 3
gradient_images = 20
random_draws = 1

[suites.simple.architecture]
name = "simple_simcnn"
arguments = { widths = [4, 4] }
[suites.simple.training]
epochs = 5
batch_size = 16
learning_rate = 0.05

[suites.plain.architecture]
name = "simcnn"
arguments = { stages = [[6], [8], [8]], hidden = [12], dropout = 0.0 }
[suites.plain.training]
epochs = 5
batch_size = 16
learning_rate = 0.05
"""


def tiny_track() -> Track:
    """Small networks of both families' forms, a few epochs each, two target classes."""
    return Track.model_validate(tomllib.loads(TINY))


def do_here(experiment: Experiment) -> None:
    """Every step in this process, in order: what `Experiment.run` does in others."""
    for step in experiment.steps():
        workspace = experiment.workspace
        if workspace.is_done(step):
            continue
        if step.work == "selection":
            workspace.keep(step, Result(select(experiment.validation_scores()), {}), 0.0)
            continue
        suite = experiment.track.suites[0]
        images = TrackImages(suite.dataset, experiment.track.seed, experiment.means.images)
        workspace.keep(
            step, perform(Job(suite, images, step, workspace, "cpu", ignore_progress)), 1.0
        )


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder / "cifar10.npz", CIFAR10_CLASSES, train=50, test=20, seed=0)
    write_images(folder / "cifar100_subset.npz", CIFAR100_WEAK, train=40, test=20, seed=1)
    return folder


@pytest.fixture(scope="session")
def done(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A finished experiment."""
    experiment = Experiment(tiny_track(), tmp_path_factory.mktemp("tiny"), Means(images=images))
    do_here(experiment)
    return experiment


@pytest.fixture(scope="session")
def results(done: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What it leaves for others."""
    folder = tmp_path_factory.mktemp("results")
    write_results(done, folder)
    return folder
