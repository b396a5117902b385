from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from modularizer.assembly.calibrations.minmax import MinMaxCalibration
from modularizer.assembly.calibrations.quantile import QuantileCalibration
from modularizer.errors import CalibrationError
from modularizer.rules import (
    PAPER,
    REPLACEMENTS,
    STACKING,
    STACKINGS,
    RuleName,
    fit_of,
    fit_strong_side,
)
from tests.modularizer.bars import DATA, NAMES, parts
from tests.modularizer.made_scores import STORED, judged_by, scores_of_a_useful_module


def test_a_rule_is_named_by_what_makes_it_another() -> None:
    assert [str(name) for name in (PAPER, *REPLACEMENTS[1:], *STACKINGS)] == [
        "minmax",
        "quantile",
        "logistic",
        "logistic, caution 3",
        "fitted",
        "stack",
        "stack, caution 1.5",
    ]
    # a way with the weak entry is named where it is not the calibration's own
    assert [str(name) for name in (RuleName("fitted"), RuleName("minmax", renormalise=True))] == [
        "fitted, weak entry kept",
        "minmax, others renormalised",
    ]
    assert str(RuleName("fitted", caution=2)) == "fitted, caution 2, weak entry kept"
    fitted = [name.uses_weak_images for name in (*REPLACEMENTS, *STACKINGS)]
    assert fitted == [False] * 4 + [True] * 3


def test_caution_answers_a_class_only_where_its_odds_are_that_much_better() -> None:
    given = scores_of_a_useful_module()
    given = replace(given, weak_logits=given.weak_logits.double(), raw=given.raw.double())
    for plain in (RuleName("logistic"), RuleName("fitted", renormalise=True), STACKING):
        bold, careful = (judged_by(replace(plain, caution=one), given) for one in (1.0, 4.0))
        before, after = (one.rule.scores(given)[:, 1] for one in (bold, careful))
        if plain.uses_weak_images:  # a probability of all classes: its odds are what is divided
            torch.testing.assert_close(after / (1 - after), before / (1 - before) / 4)
        else:
            torch.testing.assert_close(torch.logit(after), torch.logit(before) - math.log(4))
        (was,), (is_now,) = bold.evaluations, careful.evaluations
        assert is_now.patched.recall <= was.patched.recall
        assert is_now.patched.others_accuracy >= was.patched.others_accuracy


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (RuleName("quantile"), "no quantile calibration; it has minmax"),
        (RuleName("minmax", "stack"), "stacking is always fitted, not minmax"),
        (RuleName("logistic", caution=2), "no logistic calibration; it has minmax"),
    ],
)
def test_a_rule_that_can_not_be_had_is_refused(name: RuleName, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        fit_of(name, [{"minmax": STORED["minmax"]}])


def test_scores_that_are_no_odds_have_no_caution() -> None:
    with pytest.raises(CalibrationError, match="caution divides odds, and minmax scores are none"):
        judged_by(RuleName("minmax", caution=2), scores_of_a_useful_module())


def test_what_a_module_is_stored_with_is_fitted_on_the_strong_model_s_images() -> None:
    module = parts().class_modules[1]
    found = fit_strong_side(module, DATA)
    with torch.no_grad():
        own = module(torch.from_numpy(DATA.train.of_class(NAMES[1]))).double()
        raw = module(torch.from_numpy(DATA.validation.images)).double()
    assert list(found) == ["minmax", "quantile", "logistic"]
    minmax, quantile, logistic = found.values()
    assert isinstance(minmax, MinMaxCalibration)
    assert isinstance(quantile, QuantileCalibration)
    assert (minmax.minimum, minmax.maximum) == pytest.approx((float(own.min()), float(own.max())))
    ends = torch.quantile(own, torch.tensor([0.05, 0.95]).double()).tolist()
    assert [quantile.low, quantile.high] == pytest.approx(ends)
    is_class = torch.from_numpy(DATA.validation.labels == 1)
    # by a logistic fit the mean probability is the share of the class
    assert float(logistic.apply(raw).mean()) == pytest.approx(float(is_class.double().mean()))
