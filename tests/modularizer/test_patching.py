from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from modularizer.assembly.calibrations.raw import NoCalibration
from modularizer.assembly.class_module import both_ways
from modularizer.assembly.fitting import (
    Rule,
    cross_fitted_scores,
    fit_replacement,
    fit_stacking,
    predicted_labels,
)
from modularizer.assembly.fusions.replacement import Replacement
from modularizer.errors import CalibrationError
from modularizer.metrics import class_metrics
from modularizer.patching import (
    Choice,
    JudgedRule,
    NoGainError,
    best_of,
    branch_scores,
    choice_evidence,
    choose_rule,
    evaluate_scores,
    rule_evidence,
)
from modularizer.rules import PAPER, REPLACEMENTS, STACKING, RuleName, fit_strong_side
from tests.modularizer.bars import DATA, parts, strong
from tests.modularizer.made_scores import CLASSES, STORED, judged_by, scores_of_a_useful_module


def test_a_stored_rule_is_judged_as_it_will_answer() -> None:
    given = scores_of_a_useful_module()
    for kind in ("minmax", "quantile", "logistic"):
        found = judged_by(RuleName(kind), given)
        assert found.rule.calibrations == (STORED[kind],)
        assert found.rule.fusion == Replacement()
        (evaluation,) = found.evaluations
        expected = torch.softmax(given.weak_logits, dim=1)
        expected[:, 1] = STORED[kind].apply(given.raw[0])
        patched = class_metrics(given.labels, predicted_labels(expected), 1)
        assert evaluation.patched == patched
        weak = class_metrics(given.labels, predicted_labels(given.weak_logits), 1)
        assert evaluation.weak == weak
        assert found.f1_gain == pytest.approx(patched.f1 - weak.f1)
        assert found.others_gain == pytest.approx(patched.others_accuracy - weak.others_accuracy)


def test_a_fitted_rule_is_judged_by_images_that_did_not_help_to_fit_it() -> None:
    generator = np.random.default_rng(0)
    useless = replace(
        scores_of_a_useful_module(60),
        raw=torch.from_numpy(generator.normal(size=(1, 60))).float(),
    )
    for name, fit in ((REPLACEMENTS[-1], fit_replacement), (STACKING, fit_stacking)):
        found = judged_by(name, useless)
        assert found.rule == fit(useless)
        honest = cross_fitted_scores(fit, useless)
        assert found.evaluations == evaluate_scores(useless, honest, CLASSES)
        assert not torch.equal(honest, found.rule.scores(useless))


def test_the_best_rule_gains_most_of_those_that_lose_nothing_over_all() -> None:
    given = scores_of_a_useful_module()
    judged = [judged_by(name, given) for name in (*REPLACEMENTS, STACKING)]
    best = best_of(judged)
    assert best is not None
    assert best.f1_gain > 0.3
    assert best.accuracy_gain >= 0
    for one in judged:
        assert one.f1_gain <= best.f1_gain or one.accuracy_gain < 0


def made_up(f1_gain: float, accuracy_gain: float) -> JudgedRule:
    (base,) = judged_by(PAPER, scores_of_a_useful_module()).evaluations
    patched = replace(
        base.weak, f1=base.weak.f1 + f1_gain, accuracy=base.weak.accuracy + accuracy_gain
    )
    return JudgedRule(PAPER, Rule(Replacement(), ()), (replace(base, patched=patched),))


def test_a_rule_that_loses_over_all_or_gains_nothing_is_not_the_best() -> None:
    harmful, useless, modest = made_up(0.5, -0.01), made_up(0.0, 0.1), made_up(0.1, 0.0)
    assert best_of([harmful, useless]) is None
    assert best_of([harmful, useless, modest]) is modest
    assert best_of([modest, replace(modest)]) is modest


def test_branch_scores_are_what_each_network_gives() -> None:
    weak, modules = strong(), [parts().class_modules[2], parts().class_modules[0]]
    given = branch_scores(weak, modules, DATA.validation, batch_size=7)
    images = torch.from_numpy(DATA.validation.images)
    with torch.no_grad():
        torch.testing.assert_close(given.weak_logits, weak(images), rtol=1e-5, atol=1e-5)
        for row, module in zip(given.raw, modules, strict=True):
            torch.testing.assert_close(row, module(images), rtol=1e-5, atol=1e-5)
    assert given.columns == (2, 0)
    assert given.labels is DATA.validation.labels


def test_a_module_that_sees_images_both_ways_gives_the_mean() -> None:
    module = parts().class_modules[2]
    seeing = both_ways(module)
    images = torch.from_numpy(DATA.validation.images[:9])
    with torch.no_grad():
        mean = (module(images) + module(images.flip(2))) / 2
        torch.testing.assert_close(seeing(images), mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(seeing(images.flip(2)), mean, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(module(images), mean, rtol=1e-3)
        assert seeing(images[:0]).shape == (0,)
    assert (seeing.class_name, seeing.output) == (module.class_name, module.output)


def test_nothing_is_chosen_where_nothing_gains() -> None:
    """The strong model patched with its own module, on images that it gets right."""
    weak, modules = strong(), parts().class_modules[:1]
    stored = [fit_strong_side(modules[0], DATA)]
    given = branch_scores(weak, modules, DATA.validation)
    right = np.flatnonzero(predicted_labels(given.weak_logits) == given.labels)
    images = DATA.validation.take(right)
    with pytest.raises(NoGainError, match=r"no rule makes .* minmax [-+]0\.\d+ \(acc") as error:
        choose_rule(weak, modules, stored, images, must_gain=True)
    assert [one.name for one in error.value.judged] == list(REPLACEMENTS)
    anyway = choose_rule(weak, modules, stored, images)
    assert anyway.chosen.f1_gain == max(one.f1_gain for one in anyway.judged) <= 0
    least_lost = max(anyway.judged, key=lambda one: (one.f1_gain, one.accuracy_gain))
    assert anyway.chosen.accuracy_gain == least_lost.accuracy_gain
    assert anyway.none_gained
    assert choice_evidence(anyway)["registered_anyway"] is True
    alone = choose_rule(weak, modules, stored, images, [PAPER])
    assert alone.chosen.f1_gain <= 0
    assert not alone.none_gained  # nothing was to be chosen


def test_evidence_is_each_rule_s_gains_beside_what_it_gives_for_each_class() -> None:
    given = scores_of_a_useful_module()
    judged = tuple(judged_by(name, given) for name in (PAPER, STACKING))
    found = choice_evidence(Choice(judged[1], judged, {"quantile": "why"}))
    assert found["registered_anyway"] is False
    assert found["rules_that_failed"] == {"quantile": "why"}
    assert [row["rule"] for row in found["rules"]] == ["minmax", "stack"]
    assert found["validation"] == found["rules"][1]["validation"]
    for row, one in zip(found["rules"], judged, strict=True):
        (shown,) = row["validation"]
        assert shown["patched"]["f1"] - shown["weak"]["f1"] == row["f1_gain"] == one.f1_gain
        assert {**row, "validation": []} == {**rule_evidence(one), "validation": []}


def test_a_rule_that_fails_is_left_out_and_the_reason_kept() -> None:
    weak, modules = strong(), parts().class_modules[:1]
    stored = [{"minmax": fit_strong_side(modules[0], DATA)["minmax"]}]
    found = choose_rule(weak, modules, stored, DATA.validation)
    assert found.failed.keys() == {"quantile", "logistic", "logistic, caution 3"}
    assert [str(one.name) for one in found.judged] == ["minmax", "fitted"]
    with pytest.raises(CalibrationError, match="quantile: a class module has no quantile"):
        choose_rule(weak, modules, stored, DATA.validation, [RuleName("quantile")])


def test_without_images_a_stored_rule_is_taken_unjudged() -> None:
    weak, modules = strong(), parts().class_modules[:1]
    stored = [fit_strong_side(modules[0], DATA)]
    found = choose_rule(weak, modules, stored, None, [RuleName("none")])
    assert found.chosen.rule.calibrations == (NoCalibration(),)
    assert found.chosen.evaluations == ()
    with pytest.raises(CalibrationError, match="fitted on labelled images of the weak model"):
        choose_rule(weak, modules, stored, None, [STACKING])
