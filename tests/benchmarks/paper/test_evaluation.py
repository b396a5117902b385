"""What the tables' numbers are made of, against numbers worked out by hand or the long way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.paper.evaluation import (
    Judged,
    best_threshold,
    composed_summary,
    first_of_target,
    gain_ratio,
    judge_row,
    output_calibration,
    summary_of,
)
from benchmarks.paper.rows import ROWS, Row
from benchmarks.paper.scores import STRONG, SuiteScores
from benchmarks.paper.selection import best_row, harms
from benchmarks.paper.track import KINDS, Kind
from modularizer.assembly.calibrations.raw import NoCalibration
from modularizer.assembly.fitting import BranchScores, Rule
from modularizer.assembly.fusions.replacement import Replacement
from modularizer.metrics import METRICS
from modularizer.rules import RuleName

DRAWS = 2000
RAW = Row("raw", "raw score", RuleName("none"))


def suite_scores(weak: Any, raw: Sequence[float], labels: Sequence[int]) -> SuiteScores:
    """One target class, the last of the columns; the same weak scores for each kind."""
    tensors = {
        "cat/labels": torch.tensor(labels),
        "cat/patch/modules": torch.tensor(raw),
        **{f"cat/weak/{kind}": torch.tensor(weak) for kind in KINDS},
    }
    return SuiteScores("suite", ("cat", "dog"), ("cat",), tensors)


def judged(kind: Kind, gain: float, *, suite: str = "suite", others: float = 0.0) -> Judged:
    """A model that gains so much by every metric, on whichever images."""
    weak = dict.fromkeys(METRICS, 0.5)
    patched = {**dict.fromkeys(METRICS, 0.5 + gain), "others_accuracy": 0.5 + others}
    draws = np.tile([patched[name] - weak[name] for name in METRICS], (DRAWS, 1))
    return Judged(suite, "cat", kind, weak, patched, (3, 2), (1, 0), draws)


def test_a_row_is_judged_by_what_changes() -> None:
    # Three classes, cat the last. The weak model answers 0 0 1 2 2 1, patched 2 0 1 2 0 2.
    answers = [0, 0, 1, 2, 2, 1]
    weak = [[4.0 * (column == one) for column in range(3)] for one in answers]
    raw = [1.0, 0.0, 0.0, 1.0, -1.0, 1.0]
    labels = [2, 0, 1, 2, 0, 1]
    scores = suite_scores(weak, raw, labels)
    fits = {"raw": {f"suite/cat/{kind}": Rule(Replacement(), (NoCalibration(),)) for kind in KINDS}}
    found = judge_row(RAW, fits, [scores], images={}, spread=True)
    assert [one.kind for one in found] == list(KINDS)
    for one in found:
        assert one.weak["precision"] == pytest.approx(1 / 2)
        assert one.weak["recall"] == pytest.approx(1 / 2)
        assert one.patched["precision"] == pytest.approx(2 / 3)
        assert one.patched["recall"] == 1
        assert one.patched["f1"] == pytest.approx(0.8)
        assert one.gain("others_accuracy") == pytest.approx(0)
        assert one.fixes == (1, 1)
        assert one.regressions == (0, 1)
        assert one.draws.shape == (DRAWS, len(METRICS))


def test_the_first_images_of_the_target_class_count_and_all_others() -> None:
    labels = np.array([1, 0, 1, 0, 1, 1])
    raw = torch.arange(6.0)
    given = BranchScores(torch.zeros(6, 2), raw[None], (1,), labels)
    assert first_of_target(given, 2).raw.tolist() == [[0, 1, 2, 3]]
    assert first_of_target(given, 2).labels.tolist() == [1, 0, 1, 0]
    assert first_of_target(given, None) is given


def test_the_best_threshold_is_found_the_long_way() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(3, size=60)
    weak = generator.normal(size=(60, 3)).astype(np.float32)
    raw = (labels == 2) + generator.normal(0, 0.7, 60)
    scores = suite_scores(weak.tolist(), raw.tolist(), labels.tolist())
    reached = []
    for threshold in raw:
        says = raw >= threshold
        reached.append(2 * (says & (labels == 2)).sum() / (says.sum() + (labels == 2).sum()))
    for one in best_threshold([scores], images={}):
        assert one.patched["f1"] == pytest.approx(max(reached))


def test_a_summary_is_the_mean_over_models_with_its_spread_over_them() -> None:
    models = [
        judged("simple", 0.0, others=-0.1),
        judged("simple", 0.3, suite="another"),
        judged("overfitting", 0.6, others=0.1),
        judged("underfitting", 0.0),
    ]
    found = summary_of(models)
    assert found["f1_gain"] == pytest.approx(0.9 / 4)
    assert found["f1_gain_by_kind"] == pytest.approx(
        {"simple": 0.15, "underfitting": 0.0, "overfitting": 0.6}
    )
    assert found["f1_gain_cells"] == pytest.approx((0.0 + 0.3 + 0.6 + 0.0) / 4)
    assert found["others_better_share"] == 0.75  # one that stays as it was is not worse
    assert (found["fixes"], found["regressions"]) == (20, 4)
    two = summary_of([judged("simple", 0.0), judged("simple", 1.0)])
    # of two models drawn twice a quarter is the first alone, and a quarter the second
    assert two["f1_gain_interval"] == [0.0, 1.0]


def test_cells_count_alike_whatever_their_number_of_models() -> None:
    models = [judged("simple", 0.0), judged("simple", 0.0), judged("overfitting", 0.6)]
    found = summary_of(models)
    assert found["f1_gain"] == pytest.approx(0.2)
    assert found["f1_gain_cells"] == pytest.approx(0.3)


def test_a_ratio_draws_models_for_both_rows_alike() -> None:
    better = [judged("simple", 0.2), judged("simple", 0.4)]
    base = [judged("simple", 0.1), judged("simple", 0.4)]
    found = gain_ratio(better, base)
    assert found["ratio"] == pytest.approx(1.2)
    assert found["interval"] == pytest.approx([1.0, 2.0])  # the second twice, the first twice


def test_a_ratio_to_no_gain_says_nothing() -> None:
    better = [judged("simple", 0.2), judged("simple", 0.4)]
    nothing = [judged("simple", 0.0), judged("simple", 0.0)]
    assert gain_ratio(better, nothing) == {"ratio": None, "interval": None}
    sometimes = [judged("simple", -0.1), judged("simple", 0.4)]
    found = gain_ratio(better, sometimes)
    assert found["ratio"] == pytest.approx(2.0)
    assert found["interval"] is None


def test_output_calibration_brings_modules_back_to_one_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 3, generator=generator)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0].numpy()
    distorted = logits.clone()
    distorted[:, 2] = 0.2 * logits[:, 2] + 3
    scale, shift = output_calibration(distorted, labels)
    assert scale[2] / scale[0] == pytest.approx(5, rel=0.15)
    again = (distorted * scale + shift).argmax(dim=1)
    before = (distorted.argmax(dim=1) == logits.argmax(dim=1)).float().mean()
    assert before < 0.7
    assert (again == logits.argmax(dim=1)).float().mean() > 0.97


def test_a_composed_model_is_compared_with_the_strong_one() -> None:
    labels = torch.arange(40) % 2
    right = torch.nn.functional.one_hot(labels, 2).float()
    strong, modules = right.clone(), right.clone()
    strong[:4] = strong[:4].flip(1)  # a tenth wrong
    modules[:10] = modules[:10].flip(1)  # a quarter
    tensors = {
        f"{STRONG}/labels": labels,
        f"{STRONG}/strong": strong,
        f"{STRONG}/modules": modules,
        f"{STRONG}/random": modules,
    }
    scores = SuiteScores("suite", ("cat", "dog"), (), tensors)
    facts = {
        "kernels": 10,
        "multiply_adds": 100,
        "classes": [{"kernels": 4, "multiply_adds": 20}, {"kernels": 6, "multiply_adds": 50}],
        "diff": 0.5,
        "passes": {"search": 7},
    }
    found = composed_summary(scores, scores, facts)
    assert found["strong_accuracy_uncalibrated"] == pytest.approx(0.9)
    assert found["composed_accuracy_uncalibrated"] == pytest.approx(0.75)
    assert found["composed_loss_uncalibrated"] == pytest.approx(0.15)
    assert found["composed_loss"] == pytest.approx(0.15)
    assert found["composed_loss_validation"] == pytest.approx(0.15, abs=0.05)
    assert found["kernels_kept"] == pytest.approx(0.5)
    assert found["most_kernels_kept"] == pytest.approx(0.6)
    assert found["multiply_adds_share"] == pytest.approx(0.35)


def gains(f1: float, recall: float, precision: float, others: float) -> dict[str, Any]:
    """A row's models, one a kind, each with these gains."""
    weak = dict.fromkeys(METRICS, 0.5)
    added = {"f1": f1, "recall": recall, "precision": precision, "others_accuracy": others}
    patched = {name: 0.5 + added.get(name, 0.0) for name in METRICS}
    return {"models": {f"suite/cat/{kind}": {"weak": weak, "patched": patched} for kind in KINDS}}


def rows_with(**found: dict[str, Any]) -> dict[str, Any]:
    return {"paper": gains(0.1, -0.1, 0.2, 0.01), **found}


CANDIDATES = [row for row in ROWS if row.key in ("quantile", "logistic", "fitted", "stack")]


def test_the_best_row_harms_nobody() -> None:
    rows = rows_with(
        quantile=gains(0.4, 0.1, 0.1, 0.02),  # less precision than the paper's rule
        logistic=gains(0.3, 0.1, 0.2, 0.005),  # less for the others
        fitted=gains(0.25, -0.1, 0.3, 0.02),  # recall falls
        stack=gains(0.2, 0.1, 0.2, 0.01),
    )
    assert best_row(CANDIDATES, rows) == "stack"
    recall_of_one_kind = gains(0.3, 0.2, 0.3, 0.02)
    recall_of_one_kind["models"]["suite/cat/simple"] = gains(0.3, -0.01, 0.3, 0.02)["models"][
        "suite/cat/simple"
    ]
    assert best_row(CANDIDATES, {**rows, "quantile": recall_of_one_kind}) == "stack"
    assert best_row(CANDIDATES, {**rows, "quantile": gains(0.3, 0.2, 0.3, 0.02)}) == "quantile"
    assert harms("quantile", rows) == ["precision"]
    assert harms("stack", rows) == []
    assert harms("quantile", {**rows, "quantile": recall_of_one_kind}) == [
        "recall of simple models"
    ]


def test_where_every_row_harms_somebody_the_one_that_harms_least_is_taken() -> None:
    rows = rows_with(
        quantile=gains(0.4, -0.1, 0.1, 0.0),
        logistic=gains(0.3, -0.1, 0.2, 0.0),
        fitted=gains(0.2, 0.1, 0.2, 0.005),
        stack=gains(0.1, 0.1, 0.2, 0.005),
    )
    assert best_row(CANDIDATES, rows) == "fitted"
