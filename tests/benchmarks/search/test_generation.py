from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmarks.search.ablation import base_settings
from benchmarks.search.agreement import completed_scores
from benchmarks.search.generation import STAGES, measure_generations
from benchmarks.search.reference import run_candidates
from benchmarks.search.subject import Workbench, open_workbench
from modularizer.search.evolution import genetic_search
from modularizer.settings import DecompositionSettings
from tests.benchmarks.search.samples import subject

SETTINGS = base_settings(candidates=5, generations=3, changes={"batch_size": 8, "elites": 1})


@pytest.fixture(scope="module")
def bench() -> Iterator[Workbench]:
    with open_workbench(subject(), SETTINGS, workers=2) as one:
        yield one


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_both_ways_come_to_the_same_generation_after_generation(
    bench: Workbench, share: float
) -> None:
    found = measure_generations(bench, SETTINGS, reference_share=share)
    assert found["disagreements"] == []
    assert found["generation_ratios"]["repeats"] == 3
    assert found["generation_ratio"] > 0
    assert found["bracket_ratio"] > 0


@pytest.mark.parametrize(
    "changes",
    [{"first_population": "random"}, {"passing": "thresholds", "least_passing": 2}],
    ids=str,
)
def test_other_settings_come_to_the_same_too(bench: Workbench, changes: dict[str, object]) -> None:
    settings = DecompositionSettings.model_validate({**SETTINGS.model_dump(), **changes})
    assert measure_generations(bench, settings, reference_share=1.0)["disagreements"] == []


def test_what_is_measured_is_the_search_itself(bench: Workbench) -> None:
    found = measure_generations(bench, SETTINGS, reference_share=1.0)
    search = genetic_search(bench.task(SETTINGS), bench.fitting_sensitivity(SETTINGS))
    history = [
        {"passes": row["passes"], "accuracy": row["accuracy"], "fitness": row["fitness"]}
        for row in found["rows"]
    ]
    names = ("passes", "accuracy", "fitness")
    assert history == [{name: row[name] for name in names} for row in search.history]
    assert found["passes"] == search.passes


def test_the_numbers_fit_together(bench: Workbench) -> None:
    found = measure_generations(bench, SETTINGS)
    assert "generation_ratio" not in found
    assert found["passes_share"] == found["passes"] / (3 * 4 * 5 * 40)
    for row in found["rows"]:
        seconds = row["seconds"]
        assert seconds["total"] == pytest.approx(
            seconds["other"] + sum(seconds[stage] for stage in STAGES)
        )
        assert row["peak_bytes"] > 2**20


def test_a_candidate_that_scores_otherwise_shows(bench: Workbench) -> None:
    scorer = bench.scorer
    scorer.forget()
    masks = torch.ones(4, 2, scorer.plan.channels, dtype=torch.bool)
    masks[:, 1, ::2] = False
    for segment in scorer.plan.segments:
        masks[..., segment.start] = True
    for label in range(4):
        scorer.scores(masks[label], label, [label])
    images = scorer.images
    scores = run_candidates(scorer.network, scorer.plan, images, masks, share=0.5).scores
    filled, wrong = completed_scores(scores, scorer, masks)
    assert wrong == []
    whole = run_candidates(scorer.network, scorer.plan, images, masks).scores
    known = ~torch.from_numpy(filled).isnan()
    assert torch.equal(torch.from_numpy(filled)[known], torch.from_numpy(whole)[known])
    assert int(known[:, 1].sum()) == 40  # each on its own class's images alone
    scores[0, 0] += 1
    assert completed_scores(scores, scorer, masks)[1] == [
        "1 candidates score otherwise on images of a class"
    ]
