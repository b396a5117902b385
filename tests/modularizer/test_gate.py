from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from modularizer.answers import Answers
from modularizer.errors import DataError
from modularizer.gate import InUse, LostPatch, judge_promotion
from modularizer.metrics import Labels
from modularizer.settings import GateSettings

NAMES = ("cat", "dog", "ship")
LABELS = np.repeat(np.arange(3), 100)
WEAK = np.where((LABELS == 0) & (np.arange(300) % 2 == 0), 1, LABELS)  # half of the cats: dogs
DEFAULT = GateSettings()


def answers(patched: Labels, weak: Labels = WEAK) -> Answers:
    return Answers(NAMES, LABELS, weak, patched)


def ships_called_cats(count: int, said: Labels = LABELS) -> Labels:
    changed = said.copy()
    changed[200 : 200 + count] = 0
    return changed


def test_a_patch_that_gains_and_costs_nothing_passes() -> None:
    verdict = judge_promotion(answers(LABELS), ("cat",), current=None, settings=DEFAULT)
    assert verdict.passed
    assert verdict.reasons == ()
    (cat,) = verdict.classes
    assert (cat.name, cat.images, cat.weak_f1, cat.f1) == ("cat", 100, 2 / 3, 1)
    assert cat.gains
    assert 0 < cat.gain_low < 1 / 3 < cat.gain_high
    assert cat.p_value == binomtest(0, 50).pvalue
    assert cat.current_f1 is None
    assert (verdict.fixed, verdict.broken, verdict.images) == (50, 0, 300)
    assert (verdict.others_images, verdict.others_accuracy) == (200, 1)


@pytest.mark.parametrize("test", ["bootstrap", "mcnemar"])
def test_a_patch_that_changes_nothing_gains_nothing(test: str) -> None:
    settings = GateSettings.model_validate({"gain_test": test})
    verdict = judge_promotion(answers(WEAK), ("cat",), current=None, settings=settings)
    assert not verdict.passed
    assert verdict.reasons == (
        "class cat is not shown to gain over the weak model (F1 0.667 > 0.667, 100 images): "
        "that is no gain",
    )


@pytest.mark.parametrize("test", ["bootstrap", "mcnemar"])
def test_a_gain_that_may_be_chance_is_refused(test: str) -> None:
    nearly = WEAK.copy()
    nearly[:4:2] = 0  # two cats more
    settings = GateSettings.model_validate({"gain_test": test})
    verdict = judge_promotion(answers(nearly), ("cat",), current=None, settings=settings)
    (cat,) = verdict.classes
    interval = f"{cat.gain_low:+.3f} to {cat.gain_high:+.3f}"
    why = {
        "bootstrap": f"the interval of the gain, {interval}, reaches 0",
        "mcnemar": "p = 0.5, at most 0.05 is asked for",
    }
    assert cat.gain_low <= 0 < 104 / 152 - 2 / 3 < cat.gain_high
    assert verdict.reasons == (
        "class cat is not shown to gain over the weak model (F1 0.667 > 0.684, 100 images): "
        + why[test],
    )
    generous = GateSettings.model_validate({"gain_test": test, "alpha": 0.5})
    assert judge_promotion(answers(nearly), ("cat",), current=None, settings=generous).passed


@pytest.mark.parametrize(("cats", "passes"), [(1, False), (2, False), (3, False), (5, True)])
def test_a_gain_on_a_handful_of_images_is_shown_by_five_of_them(cats: int, passes: bool) -> None:
    labels, weak = LABELS[100 - cats :], WEAK[100 - cats :].copy()
    weak[:cats] = 1  # none of the cats is told
    few = Answers(NAMES, labels, weak, labels)
    verdict = judge_promotion(few, ("cat",), current=None, settings=DEFAULT)
    assert verdict.passed is passes
    (cat,) = verdict.classes
    assert (cat.images, cat.weak_f1, cat.f1) == (cats, 0, 1)
    assert (cat.gain_low > 0) is passes
    if not passes:
        assert verdict.reasons == (
            f"class cat is not shown to gain over the weak model (F1 0.000 > 1.000, {cats} "
            f"images): the interval of the gain, {cat.gain_low:+.3f} to +1.000, reaches 0",
        )


@pytest.mark.parametrize(("ships", "passes"), [(2, True), (3, False)])
def test_what_the_others_may_lose_is_exact(ships: int, passes: bool) -> None:
    # of 200 images of the other classes .01 is two
    verdict = judge_promotion(
        answers(ships_called_cats(ships)), ("cat",), current=None, settings=DEFAULT
    )
    assert verdict.passed is passes
    assert verdict.others_accuracy == 1 - ships / 200
    lost = (
        "the other classes lose 0.015 of their accuracy against the weak model (1.000 > 0.985); "
        "0.01 may be lost"
    )
    assert verdict.reasons == (() if passes else (lost,))
    lenient = GateSettings(max_loss=ships / 200)
    assert judge_promotion(
        answers(ships_called_cats(ships)), ("cat",), current=None, settings=lenient
    ).passed


def test_what_counts_is_the_model_in_use_where_there_is_one() -> None:
    weak = ships_called_cats(40, WEAK)
    verdict = judge_promotion(
        answers(ships_called_cats(10), weak),
        ("cat",),
        current=InUse(LABELS, ("cat",)),
        settings=DEFAULT,
    )
    assert verdict.weak_others_accuracy == 0.8
    assert verdict.others_accuracy == 0.95
    assert verdict.current_others_accuracy == 1
    assert not verdict.passed
    assert verdict.reasons == (
        "class cat loses 0.048 of its F1 against the model in use (1.000 > 0.952); "
        "0.01 may be lost",
        "the other classes lose 0.050 of their accuracy against the model in use "
        "(1.000 > 0.950); 0.01 may be lost",
    )
    assert (verdict.fixed, verdict.broken) == (0, 10)


def test_mcnemar_does_not_take_a_loss_for_a_gain() -> None:
    labels = np.repeat(np.arange(3), (50, 450, 450))
    weak = labels.copy()
    weak[:50] = 1  # no cat is told
    weak[50:130] = 2
    patched = weak.copy()
    patched[:15] = 0  # some are now, and more that are none, which were wrong in any case
    patched[50:130] = 0
    settings = GateSettings(gain_test="mcnemar")
    verdict = judge_promotion(
        Answers(NAMES, labels, weak, patched), ("cat",), current=None, settings=settings
    )
    (cat,) = verdict.classes
    assert cat.f1 > cat.weak_f1
    assert cat.p_value < 1e-6
    assert not cat.told_better
    assert verdict.reasons == (
        "class cat is not shown to gain over the weak model (F1 0.000 > 0.207, 50 images): "
        "no more images are told apart rightly than by the weak model",
    )


def test_small_losses_do_not_add_up() -> None:
    verdicts = []
    in_use = ships_called_cats(2)
    for count in (3, 4):  # 0.015 and 0.02 of 200 others, a half per cent more each time
        found = ships_called_cats(count)
        current = InUse(in_use, ("cat",))
        verdicts.append(
            judge_promotion(answers(found), ("cat",), current=current, settings=DEFAULT)
        )
        in_use = found
    assert [verdict.reasons for verdict in verdicts] == [
        (
            "the other classes lose 0.015 of their accuracy against the weak model below it "
            "(1.000 > 0.985); 0.01 may be lost",
        ),
        (
            "the other classes lose 0.020 of their accuracy against the weak model below it "
            "(1.000 > 0.980); 0.01 may be lost",
        ),
    ]
    # What is better than the model in use is not refused for what that one has lost.
    better = judge_promotion(
        answers(ships_called_cats(3)),
        ("cat",),
        current=InUse(ships_called_cats(9), ("cat",)),
        settings=DEFAULT,
    )
    assert better.passed


def test_the_same_model_again_passes() -> None:
    verdict = judge_promotion(
        answers(LABELS), ("cat",), current=InUse(LABELS, ("cat",)), settings=DEFAULT
    )
    assert verdict.passed
    assert verdict.lost_patches == ()


@pytest.mark.parametrize(("ships", "passes"), [(1, True), (2, False)])
def test_a_class_that_the_model_in_use_alone_patches_keeps_its_f1(ships: int, passes: bool) -> None:
    # two ships missed are .0101 of their F1, but just .01 of the accuracy on ships and dogs
    patched = LABELS.copy()
    patched[200 : 200 + ships] = 1
    verdict = judge_promotion(
        answers(patched), ("cat",), current=InUse(LABELS, ("cat", "ship")), settings=DEFAULT
    )
    assert [one.name for one in verdict.classes] == ["cat"]
    f1 = (200 - 2 * ships) / (200 - ships)
    assert verdict.lost_patches == (
        LostPatch("ship", images=100, weak_f1=1, f1=f1, current_f1=1),  # and no gain is asked
    )
    assert (verdict.others_images, verdict.others_accuracy) == (100, 1)
    assert verdict.passed is passes
    lost = (
        "class ship, patched by the one in use alone, loses 0.010 of its F1 against the model in "
        "use (1.000 > 0.990); 0.01 may be lost"
    )
    assert verdict.reasons == (() if passes else (lost,))
    assert verdict.as_json()["lost_patches"][0]["f1"] == f1


def test_where_each_class_is_patched_by_one_of_both_there_are_no_others() -> None:
    verdict = judge_promotion(
        answers(LABELS), ("cat",), current=InUse(WEAK, ("ship", "dog")), settings=DEFAULT
    )
    assert verdict.passed
    assert [(one.name, one.current_f1) for one in verdict.lost_patches] == [
        ("ship", 1),
        ("dog", 0.8),
    ]
    assert (verdict.others_images, verdict.others_accuracy) == (0, None)
    assert verdict.current_others_accuracy is None


def test_every_patch_has_to_gain_on_its_own() -> None:
    verdict = judge_promotion(answers(LABELS), ("cat", "ship"), current=None, settings=DEFAULT)
    assert [one.gains for one in verdict.classes] == [True, False]
    assert verdict.reasons == (
        "class ship is not shown to gain over the weak model (F1 1.000 > 1.000, 100 images): "
        "that is no gain",
    )


def test_where_every_class_is_patched_there_are_no_others() -> None:
    weak = np.roll(LABELS, 150)
    verdict = judge_promotion(answers(LABELS, weak), NAMES, current=None, settings=DEFAULT)
    assert verdict.passed
    assert verdict.others_accuracy is None
    assert verdict.others_images == 0


def test_images_without_the_class_are_one_clear_error() -> None:
    few = Answers(NAMES, LABELS[100:], WEAK[100:], LABELS[100:])
    with pytest.raises(DataError, match="need images of class 0"):
        judge_promotion(few, ("cat",), current=None, settings=DEFAULT)
    with pytest.raises(DataError, match="expected 300 answers"):
        judge_promotion(answers(LABELS), ("cat",), current=InUse(LABELS[:5], ()), settings=DEFAULT)
    with pytest.raises(DataError, match="no class 'eel' here; the classes are cat, dog, ship"):
        judge_promotion(
            answers(LABELS), ("cat",), current=InUse(LABELS, ("eel",)), settings=DEFAULT
        )


def test_answers_come_back_as_they_went_in() -> None:
    before = answers(LABELS)
    after = Answers.from_json(before.as_json())
    assert after == before
    for name in ("labels", "weak", "patched"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"class_names": ["a"], "labels": "0", "weak": "0", "patched": "1"},
        {"class_names": ["a"], "labels": "0", "weak": "0 0", "patched": "0"},
        {"class_names": ["a"], "labels": "0", "weak": "x", "patched": "0"},
        {"class_names": ["a"], "labels": 0, "weak": 0, "patched": 0},
        {"class_names": ["a"], "labels": "-1", "weak": "0", "patched": "0"},
        {"class_names": ["a"], "labels": "9" * 30, "weak": "0", "patched": "0"},
    ],
)
def test_answers_that_were_tampered_with_are_refused(plain: dict[str, object]) -> None:
    with pytest.raises(DataError, match="stored answers"):
        Answers.from_json(plain)
