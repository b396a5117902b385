from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.paper.images import TrackImages
from benchmarks.paper.steps import suite_steps
from benchmarks.paper.track import load_track
from modularizer.datasets.images import ImageSet
from modularizer.datasets.weak_sets import DIGITS_STRONG, digits_weak_classes
from modularizer.errors import DataError
from tests.benchmarks.paper.conftest import write_images

DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def svhn(tmp_path_factory: pytest.TempPathFactory) -> TrackImages:
    folder = tmp_path_factory.mktemp("svhn")
    write_images(folder / "svhn.npz", DIGITS, train=20, test=6, seed=0)
    return TrackImages("svhn", 0, folder)


def as_bytes(images: ImageSet) -> set[bytes]:
    return {one.tobytes() for one in images.images}


def test_house_numbers_are_split_once_for_strong_and_weak_models(svhn: TrackImages) -> None:
    strong = svhn.strong
    assert strong.class_names == DIGITS_STRONG
    learnt = as_bytes(strong.train)
    for target in DIGITS_STRONG:
        weak = svhn.weak(target)
        assert weak.class_names == digits_weak_classes(target)
        assert weak.class_names[-1] == target
        assert not learnt & as_bytes(weak.validation)
        counts = np.bincount(weak.validation.labels)
        assert set(counts) == {4}  # a fifth of what there is to learn from
        test = weak.test.open("this test")
        assert set(np.bincount(test.labels)) == {6}  # all of them
        assert not as_bytes(weak.train) & as_bytes(test)


def test_the_full_track_s_steps_are_those_of_the_paper(svhn: TrackImages, images: Path) -> None:
    track = load_track("full")
    cifar = TrackImages("cifar", track.seed, images)
    names = [suite.name for suite in track.suites]
    assert names == ["simcnn-cifar", "rescnn-cifar", "simcnn-svhn", "rescnn-svhn"]
    models = 0
    for suite in track.suites:
        steps = suite_steps(suite, cifar if suite.dataset == "cifar" else svhn)
        assert set(steps.weak) == {
            (target, run) for target in suite.targets for run in ("simple", "plain")
        }
        models += 3 * len(suite.targets)
        assert suite.strong.training.epochs == 200
        assert suite.strong.training.augment_flip == (suite.dataset == "cifar")
        assert suite.modules.kernels_budget <= 0.37
        assert suite.target_test_images == (100 if suite.dataset == "cifar" else None)
    assert models == 90


def test_held_out_images_are_given_out_once_however_they_are_asked_for(images: Path) -> None:
    found = TrackImages("cifar", 0, images)
    assert len(found.weak("cat").test.open("the tables")) == 20 * 10
    with pytest.raises(DataError, match="were given out for the tables"):
        found.weak("cat").test.open("another look")
    found.weak("ship").test.open("the tables of another class")
