from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from modularizer.macro_f1 import macro_f1, macro_f1_gain


def test_it_is_scikit_learn_s_mean_over_the_classes_that_have_images() -> None:
    generator = np.random.default_rng(0)
    for count in (1, 7, 200):
        labels = generator.integers(0, 3, count)  # no image of class 3
        said = generator.integers(0, 4, count)
        expected = f1_score(labels, said, labels=np.unique(labels), average="macro")
        assert macro_f1(labels, said) == pytest.approx(expected)


def test_the_interval_is_that_of_images_drawn_anew_one_by_one() -> None:
    generator = np.random.default_rng(1)
    labels = np.arange(300) % 3
    weak, patched = (
        np.where(generator.random(300) < right, labels, (labels + 1) % 3) for right in (0.6, 0.8)
    )
    gain, interval = macro_f1_gain(labels, weak, patched)
    assert gain == macro_f1(labels, patched) - macro_f1(labels, weak)
    drawn = []
    for _ in range(1000):
        chosen = np.concatenate(
            [generator.choice(np.flatnonzero(labels == label), 100) for label in range(3)]
        )
        drawn.append(
            macro_f1(labels[chosen], patched[chosen]) - macro_f1(labels[chosen], weak[chosen])
        )
    assert [interval.low, interval.high] == pytest.approx(
        np.percentile(drawn, (2.5, 97.5)).tolist(), abs=0.015
    )


def test_what_changes_nothing_gains_nothing_for_certain() -> None:
    labels = np.arange(30) % 3
    said = np.zeros(30, np.int64)
    gain, interval = macro_f1_gain(labels, said, said)
    assert (gain, interval.low, interval.high) == (0, 0, 0)
