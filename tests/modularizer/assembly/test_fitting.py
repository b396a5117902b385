from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from modularizer.assembly.calibrations.fitted import FittedCalibration
from modularizer.assembly.fitting import (
    BranchScores,
    Fit,
    Rule,
    cross_fitted_scores,
    fit_replacement,
    fit_stacking,
    fit_temperature,
    fold_of,
    predicted_labels,
)
from modularizer.assembly.fusions.replacement import Replacement
from modularizer.assembly.fusions.stacking import Stacking
from modularizer.errors import CalibrationError


def drawn_from(rule: Rule, count: int = 40_000, classes: int = 4, seed: int = 0) -> BranchScores:
    """Images whose labels are drawn with the very probabilities that a rule gives."""
    generator = np.random.default_rng(seed)
    weak = torch.from_numpy(generator.normal(0, 2, (count, classes)))
    raw = torch.from_numpy(generator.normal(0, 3, (len(rule.calibrations), count)))
    columns = tuple(range(1, 1 + len(rule.calibrations)))
    given = BranchScores(weak, raw, columns, np.zeros(count, np.int64))
    chances = rule.scores(given).numpy().cumsum(axis=1)
    labels = (generator.random((count, 1)) > chances).sum(axis=1).clip(max=classes - 1)
    return BranchScores(weak, raw, columns, labels.astype(np.int64))


REPLACED = Rule(
    Replacement(temperature=1.6, renormalise=True), (FittedCalibration(scale=0.7, shift=-1.2),)
)
STACKED = Rule(
    Stacking(temperature=0.8, renormalise=True, weak_weights=(0.6,)),
    (FittedCalibration(scale=0.5, shift=0.4),),
)


def test_fitting_finds_the_rule_that_labels_were_drawn_by() -> None:
    found = fit_replacement(drawn_from(REPLACED))
    assert isinstance(found.fusion, Replacement)
    assert found.fusion.renormalise
    assert found.fusion.temperature == pytest.approx(1.6, rel=0.05)
    (calibration,) = found.calibrations
    assert isinstance(calibration, FittedCalibration)
    assert calibration.scale == pytest.approx(0.7, rel=0.05)
    assert calibration.shift == pytest.approx(-1.2, rel=0.05)


def test_stacking_finds_the_weight_of_the_weak_model_s_own_belief() -> None:
    found = fit_stacking(drawn_from(STACKED))
    assert isinstance(found.fusion, Stacking)
    assert found.fusion.temperature == pytest.approx(0.8, rel=0.05)
    assert found.fusion.weak_weights == pytest.approx((0.6,), rel=0.07)
    (calibration,) = found.calibrations
    assert isinstance(calibration, FittedCalibration)
    assert (calibration.scale, calibration.shift) == pytest.approx((0.5, 0.4), rel=0.1)


def test_fitted_probabilities_are_right_as_often_as_they_say() -> None:
    given = drawn_from(REPLACED)
    scores = fit_replacement(given).scores(drawn_from(REPLACED, seed=1)).numpy()
    labels = drawn_from(REPLACED, seed=1).labels
    for low in np.arange(0.1, 0.9, 0.2):
        sure = (scores[:, 1] >= low) & (scores[:, 1] < low + 0.2)
        assert (labels[sure] == 1).mean() == pytest.approx(scores[sure, 1].mean(), abs=0.03)


def test_a_better_fit_of_the_same_kind_can_not_be_found_by_hand() -> None:
    given = drawn_from(STACKED, count=2000)
    found = fit_replacement(given)
    (calibration,) = found.calibrations
    assert isinstance(calibration, FittedCalibration)

    def loss(scale: float, shift: float) -> float:
        odds = scale * given.raw[0].numpy() + shift
        return float(np.logaddexp(0, np.where(given.labels == 1, -odds, odds)).sum())

    best = loss(calibration.scale, calibration.shift)
    for step in (-0.02, 0.02):
        assert loss(calibration.scale + step, calibration.shift) > best
        assert loss(calibration.scale, calibration.shift + step) > best


def test_perfectly_told_apart_classes_still_give_finite_numbers() -> None:
    labels = np.repeat([0, 1, 2], 30)
    raw = torch.from_numpy(np.where(labels == 1, 5.0, -5.0))[None]
    weak = torch.from_numpy(20.0 * np.eye(3)[labels])
    found = fit_stacking(BranchScores(weak, raw, (1,), labels))
    assert np.isfinite(found.fusion.model_dump()["weak_weights"]).all()
    assert (predicted_labels(found.scores(BranchScores(weak, raw, (1,), labels))) == labels).all()


def test_several_classes_are_fitted_each_against_all_others() -> None:
    rule = Rule(
        Replacement(temperature=1.3, renormalise=True),
        (FittedCalibration(scale=0.7, shift=-2), FittedCalibration(scale=0.4, shift=-1)),
    )
    given = drawn_from(rule, count=5000, classes=5)
    found = fit_replacement(given)
    assert len(found.calibrations) == 2
    assert found.fusion.temperature == pytest.approx(1.3, rel=0.1)
    right = (predicted_labels(found.scores(given)) == given.labels).mean()
    assert right == pytest.approx(
        (predicted_labels(rule.scores(given)) == given.labels).mean(), abs=0.02
    )


class Spy:
    """A fit that remembers which images it was given."""

    def __init__(self) -> None:
        self.seen: list[NDArray[np.float64]] = []

    def __call__(self, given: BranchScores) -> Rule:
        self.seen.append(given.raw[0].numpy())
        return fit_replacement(given)


def test_no_image_helps_to_fit_what_it_is_judged_by() -> None:
    given = drawn_from(REPLACED, count=500)
    spy = Spy()
    scores = cross_fitted_scores(spy, given, folds=5, seed=3)
    assert len(spy.seen) == 5
    fold = fold_of(given.labels, 5, 3)
    for one, seen in enumerate(spy.seen):
        held = given.raw[0].numpy()[fold == one]
        assert len(seen) + len(held) == 500
        assert not np.isin(seen, held).any()
        alone = fit_replacement(given.take(np.flatnonzero(fold != one)))
        expected = alone.scores(given.take(np.flatnonzero(fold == one)))
        torch.testing.assert_close(scores[torch.from_numpy(fold == one)], expected)


def test_folds_hold_their_share_of_every_class() -> None:
    labels = np.repeat([0, 1, 2], [50, 23, 4])
    fold = fold_of(labels, 5, 0)
    for label in range(3):
        counts = np.bincount(fold[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert np.bincount(fold).max() - np.bincount(fold).min() <= 1
    assert np.array_equal(fold, fold_of(labels, 5, 0))
    assert not np.array_equal(fold, fold_of(labels, 5, 1))


def test_cross_fitting_shows_a_fit_that_learns_by_heart() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 60)
    given = BranchScores(
        torch.from_numpy(generator.normal(size=(60, 3))),
        torch.from_numpy(generator.normal(size=(1, 60))),
        (1,),
        labels,
    )

    class ByHeart:
        """Knows the images that it has seen, and nothing of any other."""

        def __call__(self, seen: BranchScores) -> Rule:
            known = dict(zip(seen.raw[0].tolist(), seen.labels.tolist(), strict=True))

            class Recall(Rule):
                def scores(self, given: BranchScores) -> torch.Tensor:
                    said = [known.get(score, 0) for score in given.raw[0].tolist()]
                    return torch.eye(3, dtype=torch.float64)[said]

            return Recall(Replacement(), ())

    assert (predicted_labels(ByHeart()(given).scores(given)) == labels).all()
    honest = (predicted_labels(cross_fitted_scores(ByHeart(), given)) == labels).mean()
    assert honest < 0.6


def test_the_temperature_is_one_where_there_is_nothing_to_divide() -> None:
    labels = np.array([0, 1, 0, 1])
    given = BranchScores(torch.randn(4, 2), torch.randn(1, 4), (1,), labels)
    assert fit_temperature(given) == 1.0


@pytest.mark.parametrize(
    ("labels", "raw", "message"),
    [
        ([1, 1, 1, 1], [0.0, 1.0, 2.0, 3.0], "images of the class and of others; found 4 and 0"),
        ([0, 2, 0, 2], [0.0, 1.0, 2.0, 3.0], "images of the class and of others; found 0 and 4"),
        ([0, 1, 2, 1], [1.0, 1.0, 1.0, 1.0], "all 4 scores are 1.0; fitted calibration needs"),
        ([0, 1, 2, 1], [1.0, float("nan"), 1.0, 1.0], "1 of 4 scores are not finite"),
    ],
)
def test_what_can_not_be_fitted_is_refused(
    labels: list[int], raw: list[float], message: str
) -> None:
    given = BranchScores(torch.randn(4, 3), torch.tensor([raw]), (1,), np.array(labels))
    for fit in (partial(fit_replacement, renormalise=False), fit_stacking):
        with pytest.raises(CalibrationError, match=message):
            fit(given)


def test_broken_weak_scores_are_refused() -> None:
    weak = torch.randn(6, 3)
    weak[0, 0] = float("nan")
    given = BranchScores(weak, torch.randn(1, 6), (1,), np.array([0, 1, 2, 0, 1, 2]))
    with pytest.raises(CalibrationError, match="the weak model gives NaN"):
        fit_replacement(given)


@pytest.mark.parametrize("fit", [fit_replacement, fit_stacking])
@pytest.mark.parametrize("image", [0, 1])
def test_a_weak_model_that_gives_nan_is_refused(fit: Fit, image: int) -> None:
    weak = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    weak[image, 2] = float("nan")  # of the patched class, and of another
    raw = torch.randn(1, 40, generator=torch.Generator().manual_seed(1))
    labels = np.arange(40, dtype=np.int64) % 2
    with pytest.raises(CalibrationError, match="the weak model gives NaN or infinite scores"):
        fit(BranchScores(weak, raw, (0,), labels))


@pytest.mark.parametrize(("own", "others"), [(1, 9), (9, 1), (0, 10)])
def test_too_few_images_to_cross_fit_are_counted_as_they_are(own: int, others: int) -> None:
    labels = np.array([1] * own + [0] * others, dtype=np.int64)
    generator = torch.Generator().manual_seed(0)
    weak, raw = (torch.randn(size, generator=generator) for size in ((10, 2), (1, 10)))
    given = BranchScores(weak, raw, (1,), labels)
    with pytest.raises(CalibrationError, match=f"found {own} and {others}"):
        cross_fitted_scores(fit_replacement, given)
