"""The bracket against a plain loop over every composed model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modularizer.errors import ModularizerError
from modularizer.search.bracket import Asked, BracketResult, run_bracket
from modularizer.search.diversity import jaccard_distances
from modularizer.search.fitness import Fitness, FittestPass


class Case:
    """Small integer scores, so that ties are common; what a bracket asks, and what it asked."""

    def __init__(self, classes: int, candidates: int, images: int, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.classes, self.candidates = classes, candidates
        scores = torch.randint(-1, 2, (classes, candidates, images), generator=self.generator)
        labels = torch.cat(
            [
                torch.arange(classes),
                torch.randint(classes, (images - classes,), generator=self.generator),
            ]
        )
        self.labels = labels[torch.randperm(images, generator=self.generator)]
        own = torch.arange(classes)[:, None, None] == self.labels
        self.columns = scores + own * torch.randint(0, 2, scores.shape, generator=self.generator)
        self.columns = self.columns.float()
        masks = torch.rand(classes * candidates, 9, generator=self.generator) < 0.6
        ones = torch.ones(9, dtype=torch.int64)
        self.between = jaccard_distances(masks, masks, ones)
        self.asked: list[tuple[int, int, int]] = []

    @property
    def image_counts(self) -> Sequence[int]:
        return torch.bincount(self.labels, minlength=self.classes).tolist()

    @property
    def count(self) -> int:
        return self.candidates

    def scores(self, asked: Sequence[Asked]) -> list[Tensor]:
        found = []
        for one in asked:
            assert len(one.candidates.unique()) == len(one.candidates)
            self.asked += list(product([one.label], one.candidates.tolist(), one.image_classes))
            columns = [self.columns[one.label][:, self.labels == own] for own in one.image_classes]
            found.append(torch.cat(columns, dim=1)[one.candidates])
        return found

    def distances(self, first: int, of_first: Tensor, second: int, of_second: Tensor) -> Tensor:
        rows = self.between[first * self.candidates + of_first]
        return rows[:, second * self.candidates + of_second]

    def judge(self, combination: Tensor, alpha: float) -> tuple[float, float, float]:
        """Accuracy, Diff and fitness of one composed model, the plain way."""
        right = 0
        for image, label in enumerate(self.labels.tolist()):
            scores = [
                float(self.columns[c, int(combination[c]), image]) for c in range(self.classes)
            ]
            right += scores.index(max(scores)) == label  # the lower index where equal
        accuracy = right / len(self.labels)
        pairs = list(combinations(range(self.classes), 2))
        total = sum(
            float(
                self.between[
                    a * self.candidates + int(combination[a]),
                    b * self.candidates + int(combination[b]),
                ]
            )
            for a, b in pairs
        )
        distance = total / len(pairs)
        return accuracy, distance, alpha * accuracy + (1 - alpha) * distance

    def run(
        self, top: int | None, alpha: float, keep: Tensor | None = None, adaptive: bool = False
    ) -> BracketResult:
        return run_bracket(
            self,
            fitness=Fitness(alpha, adaptive=adaptive),
            passing=None if top is None else FittestPass(top),
            generator=self.generator,
            keep=keep,
        )


def assert_reported_as_judged(case: Case, result: BracketResult, alpha: float) -> None:
    accuracy, distance, fitness = case.judge(result.combination, alpha)
    assert result.accuracy == pytest.approx(accuracy, abs=1e-12)
    assert result.diff == pytest.approx(distance, abs=1e-12)
    assert result.fitness == pytest.approx(fitness, abs=1e-12)


@settings(max_examples=40)
@given(
    sizes=st.sampled_from([(2, 1), (2, 6), (3, 4), (4, 3), (5, 2), (5, 3)]),
    images=st.integers(6, 14),
    seed=st.integers(0, 10_000),
    alpha=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    keeps=st.booleans(),
)
def test_a_bracket_that_drops_nothing_finds_the_best_of_all_combinations(
    sizes: tuple[int, int], images: int, seed: int, alpha: float, keeps: bool
) -> None:
    classes, candidates = sizes
    case = Case(classes, candidates, images, seed)
    keep = torch.randint(candidates, (classes,), generator=case.generator) if keeps else None
    best = max(
        case.judge(torch.tensor(one), alpha)[2]
        for one in product(range(candidates), repeat=classes)
    )
    for top in (candidates**classes, None):
        result = case.run(top, alpha, keep)
        assert result.fitness == pytest.approx(best, abs=1e-12)
        assert_reported_as_judged(case, result, alpha)


@settings(max_examples=60)
@given(
    classes=st.integers(2, 7),
    candidates=st.integers(1, 6),
    seed=st.integers(0, 10_000),
    top=st.integers(1, 5),
    alpha=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    keeps=st.booleans(),
)
def test_a_narrow_bracket_reports_truly_and_never_loses_what_is_kept(
    classes: int, candidates: int, seed: int, top: int, alpha: float, keeps: bool
) -> None:
    case = Case(classes, candidates, 12, seed)
    keep = torch.randint(candidates, (classes,), generator=case.generator) if keeps else None
    result = case.run(top, alpha, keep)
    assert result.combination.shape == (classes,)
    assert bool(((result.combination >= 0) & (result.combination < candidates)).all())
    assert_reported_as_judged(case, result, alpha)
    if keep is not None:
        assert result.fitness >= case.judge(keep, alpha)[2] - 1e-12


@given(seed=st.integers(0, 10_000))
def test_the_kept_combination_takes_no_one_s_place(seed: int) -> None:
    case = Case(2, 5, 12, seed)
    worst = min(product(range(5), repeat=2), key=lambda one: case.judge(torch.tensor(one), 0.9)[2])
    free, held = case.run(1, 0.9), case.run(1, 0.9, torch.tensor(worst))
    assert held.fitness == free.fitness


def test_where_scores_are_equal_the_lower_index_wins() -> None:
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    for value in (0.0, -0.0, 1.0, -1e30, 1e-42):
        case = Case(3, 1, 7, 3)
        case.labels, case.columns = labels, torch.full((3, 1, 7), value)
        assert case.run(5, 1.0).accuracy == 3 / 7


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5))
def test_standing_is_half_the_best_fitness_plus_the_size_of_the_largest_model(
    seed: int, classes: int
) -> None:
    case = Case(classes, 3, 12, seed)
    result = case.run(3**classes, 0.9)
    models = list(product(range(3), repeat=classes))
    fitness = [case.judge(torch.tensor(one), 0.9)[2] for one in models]
    for label in range(classes):
        for candidate in range(3):
            best = max(f for one, f in zip(models, fitness, strict=True) if one[label] == candidate)
            found = float(result.standing[label, candidate])
            assert found == pytest.approx(classes + best / 2, abs=1e-12)


def test_a_candidate_that_fell_out_stands_below_those_that_went_on() -> None:
    case = Case(4, 6, 40, 5)
    standing = case.run(2, 0.9).standing
    for of_class in standing:
        on, out = of_class[of_class >= 4], of_class[of_class < 4]
        assert 1 <= len(on) <= 2
        assert bool(((out >= 2) & (out <= 2.5)).all())


def test_the_same_generator_gives_the_same_result() -> None:
    first, second = Case(5, 6, 20, 1).run(3, 0.9), Case(5, 6, 20, 1).run(3, 0.9)
    assert torch.equal(first.combination, second.combination)
    assert torch.equal(first.standing, second.standing)


def test_a_bracket_changes_none_of_its_arguments() -> None:
    case = Case(4, 5, 20, 1)
    before = [tensor.clone() for tensor in (case.columns, case.labels, case.between)]
    case.run(3, 0.9, torch.zeros(4, dtype=torch.int64))
    for was, now in zip(before, (case.columns, case.labels, case.between), strict=True):
        assert torch.equal(was, now)


def test_a_score_that_is_not_a_number_is_refused_with_its_candidate() -> None:
    case = Case(3, 4, 12, 0)
    case.columns[1, 2, case.labels == 1] = torch.nan
    with pytest.raises(ModularizerError, match="candidate 2 of class 1 gives NaN or infinite"):
        case.run(4, 0.9)


def test_a_class_without_an_image_is_refused() -> None:
    case = Case(3, 4, 12, 0)
    case.labels[case.labels == 1] = 0
    with pytest.raises(ModularizerError, match=r"no validation image of class \[1\]"):
        case.run(4, 0.9)


def test_a_single_class_is_refused() -> None:
    with pytest.raises(ModularizerError, match="at least two classes, found 1"):
        Case(1, 4, 12, 0).run(4, 0.9)


def test_nobody_is_asked_twice_or_after_falling_out() -> None:
    case = Case(7, 6, 60, 2)
    result = case.run(3, 0.9)
    assert len(set(case.asked)) == len(case.asked)
    met = {
        (label, candidate): sum(a == label and c == candidate for a, c, _ in case.asked)
        for label in range(7)
        for candidate in range(6)
    }
    for (label, candidate), classes in met.items():
        reached = int(result.standing[label, candidate])
        assert classes == reached  # one image class for each class of its largest model
    assert sum(met.values()) < 0.6 * 7 * 6 * 7


def test_too_many_combinations_are_refused() -> None:
    with pytest.raises(ModularizerError, match=r"40 candidates of 5 classes make 40\^5 models"):
        Case(5, 40, 12, 0).run(None, 0.9)


@pytest.mark.parametrize("classes", [2, 5, 100])
def test_a_hundred_classes_go_through(classes: int) -> None:
    case = Case(classes, 3, 3 * classes, 1)
    result = case.run(4, 0.9, torch.zeros(classes, dtype=torch.int64))
    assert_reported_as_judged(case, result, 0.9)
