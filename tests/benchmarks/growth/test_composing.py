"""What is done with so many classes, on known scores and masks."""

from __future__ import annotations

from itertools import combinations

import pytest

from benchmarks.growth.composing import Subject, measure_composing
from benchmarks.growth.settings import GrowthSettings

SETTINGS = GrowthSettings(tiny=True, classes=(4, 9), images=20, repeats=3, batch=5)


def test_a_model_is_composed_of_scores_that_are_known() -> None:
    subject = Subject(4, SETTINGS)
    with subject.scorer as scorer:
        subject.warm()
        first = subject.compose()
        assert 0 <= first <= 1
        assert subject.compose() == first
        assert scorer.work.passes == 4 * 20  # each module on each image, once
        assert scorer.work.reruns == 0


def test_diff_is_the_mean_of_all_pairs() -> None:
    subject = Subject(9, SETTINGS)
    sets = [set(mask.nonzero().flatten().tolist()) for mask in subject.masks]
    pairs = [1 - len(a & b) / max(1, len(a | b)) for a, b in combinations(sets, 2) if a | b]
    empty = sum(1 for a, b in combinations(sets, 2) if not a | b)
    assert subject.compare() == pytest.approx(sum(pairs) / (len(pairs) + empty), abs=1e-5)


def test_scores_are_joined_of_one_patch_and_of_one_for_each_class() -> None:
    subject = Subject(9, SETTINGS)
    assert len(subject.one_patch.patches) == 1
    assert [one.class_name for one in subject.all_patches.patches] == list(
        subject.strong.class_names
    )
    scores = subject.all_patches.combine(subject.outputs).scores
    assert scores.shape == (5, 9)
    assert (scores[:, 8] == (subject.outputs[9] + 1) / 2).all()  # calibrated from -1 to 1


def test_every_quantity_is_measured_at_every_size() -> None:
    curves = measure_composing(SETTINGS)
    assert {(row["name"], row["size"]) for row in curves.rows()} == {
        (name, size)
        for size in (4, 9)
        for name in (
            *("compose_seconds", "plan_seconds", "decode_seconds", "diff_seconds"),
            *("combine_ms", "combine_all_ms", "compose_peak_bytes", "diff_peak_bytes"),
        )
    }
    assert {row["repeats"] for row in curves.rows() if row["name"].endswith("_seconds")} == {3}
