from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from modularizer.diagnosis import Diagnosis, diagnose
from modularizer.errors import DataError

Labels = NDArray[np.int64]


def of(matrix: Sequence[Sequence[int]], **options: float) -> Diagnosis:
    """The diagnosis of answers that make this confusion matrix (rows: true classes)."""
    pairs = [
        pair
        for true, row in enumerate(matrix)
        for said, count in enumerate(row)
        for pair in [(true, said)] * count
    ]
    labels, predicted = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    margin = options.pop("margin", 0.05)
    return diagnose(labels, predicted, class_names="abcdefghij"[: len(matrix)], margin=margin)


def answers(seed: int, count: int, classes: int, wrong: float) -> tuple[Labels, Labels]:
    generator = np.random.default_rng(seed)
    labels, other = generator.integers(classes, size=(2, count))
    return labels, np.where(generator.random(count) < wrong, other, labels)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 60),
    classes=st.integers(2, 6),
    wrong=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_every_class_is_as_scikit_learn_sees_it(
    seed: int, count: int, classes: int, wrong: float
) -> None:
    labels, predicted = answers(seed, count, classes, wrong)
    found = diagnose(labels, predicted, class_names="abcdef"[:classes], draws=50)
    every = list(range(classes))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=every, zero_division=0
    )
    matrix = confusion_matrix(labels, predicted, labels=every)
    np.testing.assert_array_equal(found.confusion_matrix(), matrix)
    for index, one in enumerate(found.classes):
        assert one.class_name == "abcdef"[index]
        assert (one.support, one.right) == (support[index], matrix[index, index])
        assert one.answered == (predicted == index).sum()
        if support[index]:
            assert one.precision == pytest.approx(precision[index])
            assert one.recall == pytest.approx(recall[index])
            assert one.f1 == pytest.approx(f1[index])
    assert found.images == count
    assert found.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert found.macro_f1 == pytest.approx(f1[support > 0].mean())


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), count=st.integers(5, 80), classes=st.integers(2, 5))
def test_a_confusion_costs_what_is_won_if_just_its_images_are_answered_right(
    seed: int, count: int, classes: int
) -> None:
    labels, predicted = answers(seed, count, classes, 0.6)
    names = "abcde"[:classes]
    found = diagnose(labels, predicted, class_names=names, draws=10)
    for one in found.confusions:
        confused = (labels == names.index(one.true_class)) & (
            predicted == names.index(one.answered_class)
        )
        mended = diagnose(
            labels, np.where(confused, labels, predicted), class_names=names, draws=10
        )
        assert one.count == confused.sum() > 0
        assert one.share == pytest.approx(one.count / (labels == labels[confused][0]).sum())
        assert one.macro_f1_cost == pytest.approx(mended.macro_f1 - found.macro_f1)
        assert one.accuracy_cost == pytest.approx(mended.accuracy - found.accuracy)
    costs = [one.macro_f1_cost for one in found.confusions]
    assert costs == sorted(costs, reverse=True)
    assert sum(one.count for one in found.confusions) == (labels != predicted).sum()


def test_costs_worked_by_hand() -> None:
    # a: 8 of 10 right, 2 called b; b: all 10 right; c: 4 of 5 right, 1 called b.
    found = of([[8, 2, 0], [0, 10, 0], [0, 1, 4]])
    first, second = found.confusions
    # If both a were right, F1 of a would go from 16/18 to 1 and that of b from 20/23 to 20/21.
    assert (first.true_class, first.answered_class, first.count) == ("a", "b", 2)
    assert first.macro_f1_cost == pytest.approx(((1 - 16 / 18) + (20 / 21 - 20 / 23)) / 3)
    assert (first.share, first.accuracy_cost) == pytest.approx((0.2, 2 / 25))
    # If the c were right: c from 8/9 to 1, b from 20/23 to 20/22.
    assert (second.true_class, second.answered_class, second.count) == ("c", "b", 1)
    assert second.macro_f1_cost == pytest.approx(((1 - 8 / 9) + (20 / 22 - 20 / 23)) / 3)
    assert (second.share, second.accuracy_cost) == pytest.approx((0.2, 1 / 25))


def test_the_class_that_is_clearly_below_the_others_is_worth_a_patch_and_no_other() -> None:
    found = of([[90, 5, 5], [4, 92, 4], [25, 25, 50]])
    assert found.worth_patching == ("c",)
    weak = found.classes[2]
    assert weak.gap_interval is not None
    assert weak.others_f1 is not None
    assert weak.f1 is not None
    assert weak.others_f1 == pytest.approx(np.mean([180 / 219, 184 / 222]))
    assert 0.05 < weak.gap_interval.low < weak.others_f1 - weak.f1 < weak.gap_interval.high
    assert [one.class_name for one in found.weakest_first()] == ["c", "a", "b"]


def test_the_margin_decides_between_a_difference_that_is_proved_and_one_that_matters() -> None:
    many = [[9000, 1000], [600, 9400]]
    assert of(many, margin=0.0).worth_patching == ("a",)
    assert of(many, margin=0.05).worth_patching == ()


def test_a_few_images_prove_nothing() -> None:
    good = [[0] * 4 for _ in range(3)]
    for index in range(3):
        good[index][index] = 50
    assert of([*good, [1, 0, 0, 0]]).worth_patching == ()
    assert of([*good, [7, 7, 6, 0]]).worth_patching == ("d",)
    spread = of([*good, [1, 0, 0, 0]]).classes[3].f1_interval
    assert spread is not None
    assert (spread.low, spread.high) == (0, 1)


def test_intervals_are_as_wide_as_those_of_images_drawn_one_by_one() -> None:
    labels = np.repeat(np.arange(4), 100)
    generator = np.random.default_rng(0)
    predicted = np.where(generator.random(400) < 0.3, generator.integers(4, size=400), labels)
    found = diagnose(labels, predicted, class_names="abcd", draws=4000)
    plain = []
    for _ in range(600):
        drawn = np.concatenate([generator.choice(100, 100) + start for start in range(0, 400, 100)])
        plain.append(
            precision_recall_fscore_support(labels[drawn], predicted[drawn], zero_division=0)[:3]
        )
    low, high = np.percentile(plain, (2.5, 97.5), axis=0)
    for index, one in enumerate(found.classes):
        ours = (one.precision_interval, one.recall_interval, one.f1_interval)
        for row, interval in enumerate(ours):
            assert interval is not None
            assert interval.low == pytest.approx(low[row, index], abs=0.015)
            assert interval.high == pytest.approx(high[row, index], abs=0.015)


@pytest.mark.parametrize(("images", "right"), [(5, 0.9), (20, 0.9), (100, 0.5)])
def test_intervals_cover_the_truth_as_often_as_they_say(images: int, right: float) -> None:
    generator = np.random.default_rng(3)
    labels = np.repeat(np.arange(5), images)
    covered = 0
    for seed in range(150):
        wrong = (labels + generator.integers(1, 5, len(labels))) % 5
        predicted = np.where(generator.random(len(labels)) < right, labels, wrong)
        found = diagnose(labels, predicted, class_names="abcde", draws=300, seed=seed)
        spread = found.classes[0].f1_interval
        assert spread is not None
        # Every class is right, and wrong, as often as every other: F1 is what is right.
        covered += spread.low <= right <= spread.high
    assert covered / 150 > 0.89


def test_equal_classes_are_hardly_ever_marked() -> None:
    generator = np.random.default_rng(4)
    labels = np.repeat(np.arange(40), 25)
    marked = 0
    for seed in range(10):
        wrong = (labels + generator.integers(1, 40, len(labels))) % 40
        predicted = np.where(generator.random(len(labels)) < 0.8, labels, wrong)
        names = [str(index) for index in range(40)]
        found = diagnose(labels, predicted, class_names=names, draws=300, seed=seed)
        marked += len(found.worth_patching)
    assert marked <= 4  # of 400


def test_a_class_without_images_is_not_judged_and_still_confused_with() -> None:
    found = of([[6, 4, 0], [0, 0, 0], [0, 0, 10]])
    empty = found.classes[1]
    assert (empty.support, empty.answered, empty.right) == (0, 4, 0)
    assert (empty.precision, empty.recall, empty.f1) == (None, None, None)
    assert (empty.f1_interval, empty.gap_interval, empty.worth_patching) == (None, None, False)
    assert found.macro_f1 == pytest.approx((12 / 16 + 1) / 2)
    assert found.classes[0].others_f1 == 1
    (only,) = found.confusions
    assert (only.true_class, only.answered_class) == ("a", "b")
    assert only.macro_f1_cost == pytest.approx((1 - 12 / 16) / 2)
    assert found.weakest_first()[-1] is empty


def test_a_class_that_is_never_answered_has_an_f1_of_0() -> None:
    found = of([[0, 20, 0], [0, 20, 0], [0, 0, 20]])
    never = found.classes[0]
    assert (never.answered, never.precision, never.recall, never.f1) == (0, 0, 0, 0)
    assert never.precision_interval is not None
    assert never.worth_patching


def test_one_class_alone_has_no_others_to_be_worse_than() -> None:
    for matrix in ([[5]], [[3, 2], [0, 0]]):
        found = of(matrix)
        assert found.worth_patching == ()
        assert (found.classes[0].others_f1, found.classes[0].gap_interval) == (None, None)
        assert found.classes[0].f1 is not None


def test_all_right_and_all_wrong_mark_nothing() -> None:
    right = of([[10, 0], [0, 10]])
    assert (right.accuracy, right.macro_f1, right.confusions) == (1, 1, ())
    assert right.macro_f1_interval.high == 1
    wrong = of([[0, 10], [10, 0]])
    assert (wrong.accuracy, wrong.macro_f1, wrong.accuracy_interval.low) == (0, 0, 0)
    assert right.worth_patching == wrong.worth_patching == ()


def test_a_diagnosis_is_the_same_each_time_and_its_intervals_move_with_the_seed() -> None:
    labels, predicted = answers(0, 100, 4, 0.4)
    first, again, other = (
        diagnose(labels, predicted, class_names="abcd", seed=seed) for seed in (0, 0, 1)
    )
    assert first == again
    assert first.macro_f1 == other.macro_f1
    assert first.macro_f1_interval != other.macro_f1_interval


def test_as_json_it_is_plain_and_complete() -> None:
    plain = json.loads(json.dumps(of([[6, 4, 0], [0, 0, 0], [0, 1, 9]]).as_json(), allow_nan=False))
    assert plain.keys() == {
        *("images", "margin", "accuracy", "accuracy_interval", "macro_f1", "macro_f1_interval"),
        *("classes", "confusions", "worth_patching"),
    }
    low, high = plain["classes"][0]["f1_interval"]
    assert low < plain["classes"][0]["f1"] < high
    assert plain["classes"][1]["f1"] is None
    assert plain["confusions"][0].keys() == {
        *("true_class", "answered_class", "count", "share", "macro_f1_cost", "accuracy_cost")
    }


@pytest.mark.parametrize(
    ("labels", "predicted", "said"),
    [
        ([], [], "no image"),
        ([0, 1], [0], "an answer for each label"),
        ([0, 2], [0, 1], "labels must lie in 0..1"),
        ([0, 1], [0, -1], "answers must lie in 0..1"),
    ],
)
def test_what_can_not_be_judged_is_refused(
    labels: list[int], predicted: list[int], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        diagnose(
            np.array(labels, dtype=np.int64), np.array(predicted, dtype=np.int64), class_names="ab"
        )
