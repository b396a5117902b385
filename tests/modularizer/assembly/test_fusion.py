from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from modularizer.assembly.calibration import Calibration
from modularizer.assembly.calibrations.fitted import FittedCalibration
from modularizer.assembly.calibrations.logistic import LogisticCalibration
from modularizer.assembly.calibrations.minmax import MinMaxCalibration
from modularizer.assembly.fusion import Fusion, require_fitting_fusion
from modularizer.assembly.fusions.replacement import Replacement, is_in_log_odds
from modularizer.assembly.fusions.stacking import Stacking
from modularizer.assembly.fusions.weak_side import weak_log_odds
from modularizer.errors import PatchError

MINMAX = MinMaxCalibration(minimum=-1, maximum=3)
FITTED = FittedCalibration(scale=0.5, shift=-1)


def logits(rows: int = 7, classes: int = 4, seed: int = 0) -> Tensor:
    return 3 * torch.randn(
        rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def softmax(rows: Tensor) -> Tensor:
    powers = np.exp(rows.numpy() - rows.numpy().max(axis=1, keepdims=True))
    return torch.from_numpy(powers / powers.sum(axis=1, keepdims=True))


def test_by_default_replacement_is_the_paper_s_rule() -> None:
    weak, raw = logits(), torch.linspace(-2, 4, 7, dtype=torch.float64)
    found = Replacement().combine(weak, [1], [MINMAX], [raw])
    expected = softmax(weak)
    expected[:, 1] = (raw + 1) / 4
    torch.testing.assert_close(found, expected)


def test_a_temperature_divides_the_weak_logits() -> None:
    weak, raw = logits(), torch.zeros(7, dtype=torch.float64)
    found = Replacement(temperature=2.5).combine(weak, [0], [MINMAX], [raw])
    torch.testing.assert_close(found[:, 1:], softmax(weak / 2.5)[:, 1:])
    assert found[:, 0].tolist() == [0.25] * 7


def test_renormalised_others_sum_to_one_whatever_the_weak_model_believes_of_the_patched() -> None:
    weak, raw = logits(), torch.zeros(7, dtype=torch.float64)
    fusion = Replacement(renormalise=True)
    found = fusion.combine(weak, [1, 3], [MINMAX, MINMAX], [raw, raw])
    torch.testing.assert_close(found[:, [0, 2]].sum(dim=1), torch.ones(7, dtype=torch.float64))
    other = weak.clone()
    other[:, [1, 3]] += 5
    torch.testing.assert_close(fusion.combine(other, [1, 3], [MINMAX, MINMAX], [raw, raw]), found)


@pytest.mark.parametrize("classes", [[1], [0, 2]])
def test_log_odds_become_the_probability_that_they_are_the_odds_of(classes: list[int]) -> None:
    weak = logits()
    raw = [torch.linspace(-4, 4, 7, dtype=torch.float64) * (n + 1) for n in range(len(classes))]
    fusion = Replacement(temperature=1.7, renormalise=True)
    found = fusion.combine(weak, classes, [FITTED] * len(classes), raw)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(7, dtype=torch.float64))
    others = [column for column in range(4) if column not in classes]
    odds = [torch.exp(0.5 * scores - 1) for scores in raw]
    for column, one in zip(classes, odds, strict=True):
        torch.testing.assert_close(found[:, column] / found[:, others].sum(dim=1), one)
    expected = softmax(weak[:, others] / 1.7)
    torch.testing.assert_close(
        found[:, others] / found[:, others].sum(dim=1, keepdim=True), expected
    )


def test_large_log_odds_do_not_overflow() -> None:
    raw = torch.tensor([-1e30, 1e30])
    fusion = Replacement(renormalise=True)
    found = fusion.combine(logits(2).float(), [0], [FITTED], [raw])
    assert torch.isfinite(found).all()
    assert found[0, 0] == 0.0
    assert found[1, 0] == 1.0


def test_every_class_may_be_patched() -> None:
    weak, raw = logits(classes=2), [torch.linspace(-2, 2, 7, dtype=torch.float64)] * 2
    for calibration in (MINMAX, FITTED):
        for renormalise in (False, True):
            fusion = Replacement(renormalise=renormalise)
            found = fusion.combine(weak, [0, 1], [calibration] * 2, raw)
            assert torch.isfinite(found).all()


def test_scores_that_are_not_there_are_no_log_odds() -> None:
    assert is_in_log_odds([FITTED, FITTED])
    assert not is_in_log_odds([FITTED, MINMAX])
    assert not is_in_log_odds([])


def test_stacking_adds_the_weak_model_s_own_log_odds() -> None:
    weak, raw = logits(), torch.linspace(-3, 3, 7, dtype=torch.float64)
    fusion = Stacking(renormalise=True, weak_weights=(0.8,))
    found = fusion.combine(weak, [2], [FITTED], [raw])
    believed = softmax(weak)[:, 2]
    own = torch.log(believed / (1 - believed))
    torch.testing.assert_close(
        torch.log(found[:, 2] / (1 - found[:, 2])), 0.5 * raw - 1 + 0.8 * own
    )


def test_stacking_without_weight_is_replacement() -> None:
    weak, raw = logits(), torch.linspace(-3, 3, 7, dtype=torch.float64)
    stacked = Stacking(temperature=2, weak_weights=(0.0,)).combine(weak, [2], [FITTED], [raw])
    replaced = Replacement(temperature=2).combine(weak, [2], [FITTED], [raw])
    torch.testing.assert_close(stacked, replaced)


def test_stacking_the_weak_model_alone_gives_its_softmax_back() -> None:
    weak = logits()
    silent = FittedCalibration(scale=0, shift=0)
    fusion = Stacking(renormalise=True, weak_weights=(1.0,))
    found = fusion.combine(weak, [2], [silent], [torch.zeros(7, dtype=torch.float64)])
    torch.testing.assert_close(found, softmax(weak))


def test_log_odds_keep_their_digits_where_a_softmax_has_none_left() -> None:
    sure = torch.tensor([[200.0, 0.0, 0.0], [0.0, 200.0, 0.0]])
    assert weak_log_odds(sure, 0).tolist() == pytest.approx([200 - np.log(2), -200])


@given(st.integers(0, 1000), st.integers(0, 3))
def test_the_order_of_unpatched_classes_is_the_weak_model_s(seed: int, column: int) -> None:
    weak = logits(seed=seed)
    raw = torch.randn(7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    others = [other for other in range(4) if other != column]
    order = weak[:, others].argsort(dim=1)
    for fusion, calibration in (
        (Replacement(temperature=3, renormalise=True), MINMAX),
        (Replacement(temperature=0.5), FITTED),
        (Stacking(temperature=2, weak_weights=(1.5,)), FITTED),
    ):
        found = fusion.combine(weak, [column], [calibration], [raw])
        assert torch.equal(found[:, others].argsort(dim=1), order)


@pytest.mark.parametrize(
    ("fusion", "calibrations", "message"),
    [
        (Replacement(), [MINMAX, FITTED], "all fitted, or none is; found minmax, fitted"),
        (
            Stacking(weak_weights=(1.0,)),
            [LogisticCalibration(scale=1, shift=0)],
            "stacking takes fitted calibrations; found logistic",
        ),
        (Stacking(weak_weights=(1.0,)), [FITTED, FITTED], "1 weights for 2 patches"),
    ],
)
def test_what_does_not_go_together_is_refused(
    fusion: Fusion, calibrations: list[Calibration], message: str
) -> None:
    with pytest.raises(PatchError, match=message):
        require_fitting_fusion(fusion, calibrations)


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "replace", "temperature": 0}',
        '{"kind": "replace", "temperature": -1}',
        '{"kind": "replace", "weak_weights": [1]}',
        '{"kind": "stack"}',
        '{"kind": "stack", "weak_weights": []}',
        '{"kind": "stack", "weak_weights": [1e999]}',
        '{"kind": "average"}',
    ],
)
def test_a_broken_fusion_can_not_be_read(text: str) -> None:
    adapter: TypeAdapter[Fusion] = TypeAdapter(Fusion)
    with pytest.raises(ValidationError):
        adapter.validate_json(text)


@pytest.mark.parametrize(
    "fusion",
    [Replacement(temperature=1 / 3, renormalise=True), Stacking(weak_weights=(0.1, -2.0))],
)
def test_a_fusion_comes_back_from_json(fusion: Fusion) -> None:
    adapter: TypeAdapter[Fusion] = TypeAdapter(Fusion)
    assert adapter.validate_json(adapter.dump_json(fusion)) == fusion
