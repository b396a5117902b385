from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from modularizer.errors import DataError
from modularizer.metrics import (
    METRICS,
    class_metrics,
    counted_metrics,
    evaluate_patch,
    image_counts,
    resampled_metrics,
    stored_evaluations,
)

Labels = NDArray[np.int64]


def labels_of(seed: int, count: int, classes: int = 4) -> Labels:
    labels = np.random.default_rng(seed).integers(classes, size=count)
    labels[:classes] = np.arange(classes)
    return labels


def answers_to(labels: Labels, seed: int, wrong: float, classes: int = 4) -> Labels:
    generator = np.random.default_rng(seed + 1)
    other = generator.integers(classes, size=len(labels))
    return np.where(generator.random(len(labels)) < wrong, other, labels)


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(4, 40),
    target=st.integers(0, 3),
    wrong=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    never=st.booleans(),
)
def test_metrics_of_a_class_equal_scikit_learn_s(
    seed: int, count: int, target: int, wrong: float, never: bool
) -> None:
    labels = labels_of(seed, count)
    predicted = answers_to(labels, seed, wrong)
    if never:
        predicted[predicted == target] = (target + 1) % 4
    found = class_metrics(labels, predicted, target)
    truth, answer = labels == target, predicted == target
    assert found.precision == pytest.approx(precision_score(truth, answer, zero_division=0))
    assert found.recall == pytest.approx(recall_score(truth, answer, zero_division=0))
    assert found.f1 == pytest.approx(f1_score(truth, answer, zero_division=0))
    assert found.accuracy == pytest.approx(accuracy_score(labels, predicted))
    others = labels != target
    assert found.others_accuracy == pytest.approx(accuracy_score(labels[others], predicted[others]))


@pytest.mark.parametrize("labels", [[1, 1, 2], [0, 0, 0]])
def test_metrics_need_images_of_the_class_and_of_others(labels: list[int]) -> None:
    array = np.array(labels, dtype=np.int64)
    with pytest.raises(DataError, match="images of class 0 and of others"):
        class_metrics(array, array, 0)


NAMES = ("a", "b", "c", "d")


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), target=st.integers(0, 3))
def test_an_evaluation_holds_both_sides_and_intervals_around_them(seed: int, target: int) -> None:
    labels = labels_of(seed, 120)
    weak, patched = answers_to(labels, seed, 0.5), answers_to(labels, seed + 7, 0.2)
    found = evaluate_patch(
        labels, weak, patched, class_names=NAMES, target=NAMES[target], draws=400
    )
    assert found.weak == class_metrics(labels, weak, target)
    assert found.patched == class_metrics(labels, patched, target)
    assert (found.images, found.target_images) == (120, int((labels == target).sum()))
    for name in METRICS:
        low, high = getattr(found.weak, name), getattr(found.patched, name)
        for spread, point in (
            (found.weak_spread, low),
            (found.patched_spread, high),
            (found.gain_spread, high - low),
        ):
            assert spread[name].low - 1e-9 <= point <= spread[name].high + 1e-9
    right, now = weak == labels, patched == labels
    assert found.fixes == sum(not a and b for a, b in zip(right, now, strict=True))
    assert found.regressions == sum(a and not b for a, b in zip(right, now, strict=True))
    assert now.sum() - right.sum() == found.fixes - found.regressions


def test_an_evaluation_is_the_same_each_time_and_moves_with_its_seed() -> None:
    labels = labels_of(0, 100)
    weak, patched = answers_to(labels, 0, 0.5), answers_to(labels, 1, 0.3)
    first, again, other = (
        evaluate_patch(labels, weak, patched, class_names=NAMES, target="b", draws=300, seed=seed)
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first.gain_spread != other.gain_spread
    assert first.weak == other.weak


def test_draws_spread_as_those_of_images_drawn_one_by_one() -> None:
    labels = labels_of(3, 200)
    models = (answers_to(labels, 3, 0.5), answers_to(labels, 4, 0.3))
    found = resampled_metrics(labels, models, 1, draws=4000, seed=0)
    counts = image_counts(labels, 1, draws=4000, seed=0)
    counted = [counted_metrics(counts, labels, said, 1) for said in models]
    generator = np.random.default_rng(1)
    own, others = np.flatnonzero(labels == 1), np.flatnonzero(labels != 1)
    plain = np.empty((2, 4000, len(METRICS)))
    for draw in range(4000):
        drawn = np.concatenate([generator.choice(part, len(part)) for part in (own, others)])
        for model, said in enumerate(models):
            one = class_metrics(labels[drawn], said[drawn], 1)
            plain[model, draw] = [getattr(one, name) for name in METRICS]
    expected = (*plain, plain[1] - plain[0])
    for each in (found, counted):
        for ours, theirs in zip((*each, each[1] - each[0]), expected, strict=True):
            np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=0.003)
            np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), rtol=0.06)


def test_intervals_narrow_with_more_images_as_one_over_the_root() -> None:
    widths = []
    for count in (100, 1600):
        labels = np.arange(count, dtype=np.int64) % 4
        predicted = np.where(np.arange(count) % 10 < 3, (labels + 1) % 4, labels)
        found = evaluate_patch(
            labels, predicted, predicted, class_names=NAMES, target="a", draws=2000
        )
        spread = found.weak_spread["recall"]
        expected = 2 * 1.96 * (0.7 * 0.3 / (count / 4)) ** 0.5
        assert spread.high - spread.low == pytest.approx(expected, rel=0.25)
        assert found.gain_spread["recall"].low == found.gain_spread["recall"].high == 0
        widths.append(spread.high - spread.low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.3)


def test_a_class_with_one_image_or_no_answer_gives_numbers() -> None:
    labels = np.array([0] + [1, 2, 3] * 30, dtype=np.int64)
    nobody = np.where(labels == 0, 1, labels)
    found = evaluate_patch(labels, nobody, labels, class_names=NAMES, target="a", draws=300)
    for spread in (found.weak_spread, found.patched_spread, found.gain_spread):
        for one in spread.values():
            assert np.isfinite([one.low, one.high]).all()
            assert one.low <= one.high
    assert found.weak.precision == found.weak.f1 == 0
    assert found.patched_spread["f1"].low == 1


def test_a_target_that_is_no_class_is_refused_by_name() -> None:
    labels = labels_of(0, 20)
    with pytest.raises(DataError, match="no class 'e'"):
        evaluate_patch(labels, labels, labels, class_names=NAMES, target="e")


def test_evaluations_are_read_back_from_evidence() -> None:
    labels = labels_of(1, 40)
    evaluation = evaluate_patch(
        labels,
        answers_to(labels, 1, 0.3),
        answers_to(labels, 2, 0.1),
        class_names=tuple("abcd"),
        target="b",
    )
    stored = json.loads(json.dumps({"validation": [asdict(evaluation)]}))
    assert stored_evaluations(stored) == [evaluation]
    del stored["validation"][0]["fixes"]
    assert stored_evaluations(stored) == stored_evaluations({}) == []
