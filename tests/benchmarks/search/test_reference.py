"""The plain way comes to what the bracket comes to, and says so where it doesn't."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.search.agreement import Recorded, completed_table, disagreements
from benchmarks.search.reference import PlainBracket, compare_kernels, kernel_names, run_candidates
from benchmarks.search.sampling import Sampled, sample_of
from benchmarks.search.stages import BracketSize, KnownScores, measure_bracket
from modularizer.analysis.tracing import slicing_plan
from modularizer.search.bracket import BracketResult, run_bracket
from modularizer.search.fitness import AccuratePass, Fitness, FittestPass, Passing
from modularizer.search.images import ClassImages
from modularizer.search.scoring import CandidateScorer
from tests.benchmarks.search.samples import subject


class Case:
    """Random candidates with small whole scores, so that ties are common."""

    def __init__(self, size: BracketSize, seed: int, fitness: Fitness, passing: Passing) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.known = KnownScores(size, self.generator)
        self.known.columns = [tuple(part.round() for part in parts) for parts in self.known.columns]
        self.fitness, self.passing = fitness, passing

    def run(
        self, keep: list[int] | None = None, share: float = 1.0
    ) -> tuple[PlainBracket, tuple[int, ...] | None, Recorded, BracketResult]:
        order = torch.randperm(
            len(self.known.image_counts), generator=self.generator.clone_state()
        ).tolist()
        recorded = Recorded(self.passing)
        ours = run_bracket(
            self.known,
            fitness=self.fitness,
            passing=recorded,
            generator=self.generator,
            keep=None if keep is None else torch.tensor(keep),
        )
        names = [[f"kernel {place}"] for place in range(self.known.masks.shape[2])]
        table, _ = compare_kernels(self.known.masks, names, share=share)
        if share < 1:
            table, wrong = completed_table(table, self.known.masks, self.known.kernels)
            assert not wrong
        plain = PlainBracket(
            self.known.in_one(),
            self.known.image_counts,
            table,
            self.fitness,
            self.passing,
            share=share,
            followed=recorded.stages if share < 1 else None,
        )
        return plain, plain.run(order, keep), recorded, ours


@settings(max_examples=60)
@given(
    classes=st.integers(2, 7),
    candidates=st.integers(2, 6),
    seed=st.integers(0, 10_000),
    alpha=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    passing=st.one_of(
        st.integers(1, 9).map(FittestPass),
        st.just(AccuratePass(((2, 0.8), (4, 0.6)), least=2, most=6)),
    ),
    adaptive=st.booleans(),
    keeps=st.booleans(),
)
def test_the_plain_way_finds_the_same_to_the_last_bit(
    classes: int,
    candidates: int,
    seed: int,
    alpha: float,
    passing: Passing,
    adaptive: bool,
    keeps: bool,
) -> None:
    size = BracketSize(classes=classes, candidates=candidates, images=30, channels=20)
    case = Case(size, seed, Fitness(alpha, adaptive=adaptive), passing)
    keep = [seed % candidates] * classes if keeps else None
    plain, best, recorded, ours = case.run(keep)
    assert disagreements(plain, recorded.stages, ours.standing) == []
    assert best == tuple(ours.combination.tolist())
    assert plain.judged == plain.models


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10_000),
    share=st.sampled_from([0.1, 0.34, 0.9]),
    keep=st.sampled_from([None, [1, 0, 2, 3, 0]]),
)
def test_a_sample_of_the_models_is_judged_alike(
    seed: int, share: float, keep: list[int] | None
) -> None:
    size = BracketSize(classes=5, candidates=4, images=30, channels=20)
    case = Case(size, seed, Fitness(0.9), FittestPass(5))
    plain, best, recorded, _ = case.run(keep, share)
    assert disagreements(plain, recorded.stages) == []
    assert best is None
    assert share * plain.models <= plain.judged < plain.models


def test_another_score_shows() -> None:
    size = BracketSize(classes=4, candidates=5, images=40, channels=20)
    case = Case(size, 0, Fitness(0.9), FittestPass(4))
    honest = case.known.in_one
    wrong = honest()
    wrong[2] = wrong[2, :, ::-1]
    case.known.in_one = lambda: wrong  # type: ignore[method-assign]
    plain, _, recorded, ours = case.run()
    assert any("accuracy" in text for text in disagreements(plain, recorded.stages, ours.standing))


def test_another_distance_shows() -> None:
    masks = torch.rand(3, 4, 12) < 0.5
    weights = torch.ones(12, dtype=torch.int64)
    names = [[str(place)] for place in range(12)]
    table, _ = compare_kernels(masks, names)
    assert completed_table(table, masks, weights)[1] == []
    table[0, 2][1][3] += 1e-3
    assert completed_table(table, masks, weights)[1] == ["1 distances differ"]


@given(total=st.integers(1, 500), share=st.floats(0.1, 1))
def test_a_sample_is_at_least_its_share_and_spread_evenly(total: int, share: float) -> None:
    sample = sample_of(total, share)
    assert len(set(sample)) == len(sample) >= share * total
    assert sample == sorted(sample)
    assert sample[0] == 0
    assert sample[-1] < total
    steps = np.diff([*sample, total])
    assert steps.max() - steps.min() <= 1


def test_seconds_are_scaled_up_from_what_was_done() -> None:
    assert Sampled.of(2.0, 10, 100) == Sampled(20.0, 10, 100)
    assert Sampled.of(2.0, 7, 7).seconds == 2.0


def test_every_kernel_of_coupled_layers_has_a_name_of_its_own() -> None:
    network = subject().strong.network
    plan = slicing_plan(network, (1, 8, 8))
    names = kernel_names(plan)
    assert [len(one) for one in names] == plan.kernels_per_channel.tolist()
    assert len({name for of_channel in names for name in of_channel}) == sum(map(len, names))


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_candidates_score_as_the_search_has_it(share: float) -> None:
    measured = subject()
    network = measured.strong.network
    plan = slicing_plan(network, (1, 8, 8))
    images = ClassImages(
        measured.data.validation,
        prepare=measured.strong.prepare,
        device=torch.device("cpu"),
        micro_batch=7,
    )
    masks = torch.rand(4, 3, plan.channels, generator=torch.Generator().manual_seed(1)) < 0.7
    for segment in plan.segments:
        masks[..., segment.start] = True
    ran = run_candidates(network, plan, images, masks, share=share, workers=2)
    scores, work = ran.scores, ran.plain
    assert ran.furthest < 1e-4
    assert ran.same_layout.done == ran.plain.done
    assert (work.done, work.total) == (12 if share == 1 else 5, 12)
    done = 0
    with CandidateScorer(network, plan, images) as scorer:
        for label, of_class in enumerate(masks):
            expected = scorer.scores(of_class, label, range(4)).numpy()
            for row, known in zip(scores[label], expected, strict=True):
                assert np.isnan(row).all() or np.array_equal(row, known)
                done += int(not np.isnan(row).any())
    assert done == work.done


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_the_bracket_benchmark_gives_a_ratio_of_the_same_work(share: float) -> None:
    size = BracketSize(classes=5, candidates=6, images=50, channels=30, top=6)
    found = measure_bracket(size, repeats=2, reference_share=share)
    assert found["disagreements"] == []
    assert found["bracket_ratio"] > 0
    pairs = len(list(combinations(range(5), 2))) * 36
    done = {1.0: pairs, 0.2: pairs // 36 * 8}[share]
    assert found["pairs_compared"] == [(done, pairs)] * 2
