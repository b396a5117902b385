from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from modularizer.strong_instead import judge_strong

NAMES = ("ape", "bee", "cat")
LABELS = np.arange(60) % 3


def scores_saying(answers: np.ndarray, classes: int) -> np.ndarray:
    """The strong model's: every answer is the second highest, below a class the weak one lacks."""
    scores: np.ndarray = np.eye(classes, dtype=np.float32)[answers]
    scores[:, 0] = 2
    return scores


def test_answers_are_those_of_the_weak_models_classes_alone() -> None:
    generator = np.random.default_rng(0)
    said = np.where(generator.random(60) < 0.8, LABELS, (LABELS + 1) % 3)
    places = np.array([4, 1, 3])
    weak = np.zeros(60, np.int64)
    found = judge_strong(LABELS, weak, scores_saying(places[said], 5), places.tolist(), NAMES)
    measured = f1_score(LABELS, said, average=None)
    assert [one.patched.f1 for one in found.evaluations] == pytest.approx(list(measured))
    assert [one.target for one in found.evaluations] == list(NAMES)
    assert found.macro_f1 == pytest.approx(measured.mean())
    assert found.weak_macro_f1 == pytest.approx(f1_score(LABELS, weak, average="macro"))
    assert found.accuracy == pytest.approx((said == LABELS).mean())
    assert found.is_better_on_each


def test_it_is_not_better_where_one_class_loses_or_all_are_right_already() -> None:
    right = scores_saying(LABELS + 1, 4)
    assert not judge_strong(LABELS, LABELS, right, [1, 2, 3], NAMES).is_better_on_each
    bees_missed = np.where((LABELS == 1) & (np.arange(60) < 20), 2, LABELS)
    assert judge_strong(LABELS, bees_missed, right, [1, 2, 3], NAMES).is_better_on_each
    worse = scores_saying(bees_missed + 1, 4)
    apes_missed = np.where((LABELS == 0) & (np.arange(60) < 20), 2, LABELS)
    assert not judge_strong(LABELS, apes_missed, worse, [1, 2, 3], NAMES).is_better_on_each
    assert not judge_strong(LABELS, bees_missed, worse, [1, 2, 3], NAMES).is_better_on_each
    # a class of which the weak model misses nothing and takes nothing may stay as it is
    assert judge_strong(LABELS, bees_missed, right, [1, 2, 3], NAMES).evaluations[0].weak.f1 == 1


def test_classes_without_images_are_not_judged() -> None:
    labels = LABELS[LABELS != 2]
    found = judge_strong(
        labels, np.zeros(40, np.int64), scores_saying(labels + 1, 4), [1, 2, 3], NAMES
    )
    assert [one.target for one in found.evaluations] == ["ape", "bee"]
    assert found.is_better_on_each
