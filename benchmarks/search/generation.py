"""What a generation of the search takes, by stage, beside the same work done the plain way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from benchmarks.environment import environment
from benchmarks.search.agreement import Recorded, completed_scores, completed_table, disagreements
from benchmarks.search.reference import (
    Judged,
    PlainBracket,
    compare_kernels,
    kernel_names,
    run_candidates,
)
from benchmarks.search.sampling import Sampled
from benchmarks.search.subject import Workbench
from benchmarks.search.timing import Seconds
from modularizer.memory import peak_bytes
from modularizer.progress import Progress
from modularizer.search.bracket import BracketResult, run_bracket
from modularizer.search.evolution import Evolution, begin_search
from modularizer.search.genetic import SearchState, ask
from modularizer.search.scoring import Generation
from modularizer.search.task import fitness_of, passing_of
from modularizer.settings import DecompositionSettings

STAGES = ("decode", "network", "bracket", "diff", "waiting")

_MOST_APART = {"float32": 1e-3, "tf32": 1e-2, "bfloat16": 1e-1}
"""What sums in another order may differ by, as a share of the largest score."""


@dataclass(frozen=True)
class PlainSeconds:
    """What one generation takes the plain way.

    Attributes:
        total: of network, diff and bracket.
        total_same_layout: the same with the search's memory layout.
        network: decoding every candidate and running it on every image, laid out in memory as
            torch does it.
        network_same_layout: the same laid out as the search does it.
        diff: Jaccard distances by sets.
        bracket: composed models, one after the other.
        disagreements: where its results differ from the search's; none if all is well.
    """

    total: float
    total_same_layout: float
    network: Sampled
    network_same_layout: Sampled
    diff: Sampled
    bracket: Sampled
    disagreements: tuple[str, ...]


@dataclass(frozen=True)
class GenerationRow:
    """One generation.

    Attributes:
        generation: from 1.
        seconds: ``total``, and of it by stage: ``decode`` and ``network``, of all workers together
            divided by their number; ``bracket`` (without them and Diff) and ``diff``;
            ``waiting``, while some workers had nothing to do; ``other`` (children, keeping them).
        passes: candidates x images run.
        peak_bytes: most memory held by the process up to its end, on a GPU in it.
        accuracy: of the best combination so far.
        fitness: of the best combination so far.
        plain: the same work the plain way; None if that was not asked for.
    """

    generation: int
    seconds: dict[str, float]
    passes: int
    peak_bytes: int
    accuracy: float
    fitness: float
    plain: PlainSeconds | None

    @property
    def passes_per_second(self) -> float:
        """Images x candidates a second, over the whole generation."""
        return self.passes / self.seconds["total"]


def measure_generations(
    bench: Workbench,
    settings: DecompositionSettings,
    *,
    reference_share: float | None = None,
    told: Callable[[GenerationRow], None] = lambda _: None,
) -> dict[str, Any]:
    """Time a search's generations; with a reference, each beside the plain way of doing it.

    The two take turns and work on the same candidates, images, pairing of classes and workers.

    Args:
        bench: what to search on.
        settings: the search's; ``generations`` is how many are timed.
        reference_share: share of the plain work that is done and timed, in (0, 1]; None for no
            plain work.
        told: each generation as it ends.

    Returns:
        JSON values: ``generation_seconds``, ``bracket_seconds``, ``diff_seconds`` (medians),
        ``passes`` (all generations), ``passes_share`` (of candidates x images), with a reference
        ``generation_ratio`` (median of the pairs), and what is needed to judge them.
    """
    taken: list[Progress] = []
    evolution = begin_search(
        bench.task(settings, progress=taken.append), bench.fitting_sensitivity(settings)
    )
    rows = []
    for number in range(1, settings.generations + 1):
        rows.append(_measured(bench, evolution, number, taken, reference_share))
        told(rows[-1])
    return _summary(bench, settings, rows, reference_share)


def _measured(
    bench: Workbench,
    evolution: Evolution,
    number: int,
    taken: list[Progress],
    share: float | None,
) -> GenerationRow:
    device = bench.subject.device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    state, generator = evolution.state, evolution.generator.clone_state()
    evolution.run(number, evolution.task.settings.patience + number)
    peak = peak_bytes(device)  # a generation ends with numbers on the CPU: nothing is under way
    again = _replay(evolution, state, generator)
    seconds = dict(taken[-1].seconds)
    besides = seconds["bracket"]
    seconds["bracket"] = min(again.bracket_seconds, besides)
    seconds["waiting"] = besides - seconds["bracket"]
    seconds["other"] = seconds["total"] - sum(seconds[stage] for stage in STAGES)
    plain = None if share is None else _plain_generation(bench, evolution, again, share)
    found = taken[-1].metrics
    return GenerationRow(
        number, seconds, int(found["passes"]), peak, found["accuracy"], found["fitness"], plain
    )


@dataclass(frozen=True, eq=False)
class _Replay:
    """A generation's bracket once more, from remembered scores.

    Attributes:
        masks: bool (classes, candidates, channels).
        order: the classes as they were paired.
        keep: the candidates that had to stay in, or None.
        stages: what was judged.
        result: what the bracket found.
        is_same: whether the search found that, too.
        bracket_seconds: what it took without Diff, and without any network.
    """

    masks: Tensor
    order: list[int]
    keep: list[int] | None
    stages: list[Judged]
    result: BracketResult
    is_same: bool
    bracket_seconds: float


def _replay(evolution: Evolution, state: SearchState, generator: torch.Generator) -> _Replay:
    """Run the bracket of the generation that followed a state again; all its scores are known."""
    settings, scorer = evolution.task.settings, evolution.task.scorer
    ask(  # draws what the generation drew before its bracket
        state,
        parents=settings.parents,
        elites=settings.elites,
        vary=evolution.vary,
        generator=generator,
    )
    masks = evolution.grouping.masks(evolution.state.bits)
    order = torch.randperm(len(masks), generator=generator.clone_state()).tolist()
    keep = None if state.standing is None else [0] * len(masks)
    passing = passing_of(settings)
    assert passing is not None
    recorder, before = Recorded(passing), dict(scorer.work.seconds)
    began = perf_counter()
    result = run_bracket(
        Generation(scorer, masks),
        fitness=fitness_of(settings),
        passing=recorder,
        generator=generator,
        keep=None if keep is None else torch.tensor(keep),
    )
    took = perf_counter() - began
    for stage, workers in (("decode", scorer.workers), ("network", scorer.workers), ("diff", 1)):
        took -= (scorer.work.seconds[stage] - before[stage]) / workers
    assert evolution.state.standing is not None
    is_same = torch.equal(result.standing, evolution.state.standing)
    return _Replay(masks, order, keep, recorder.stages, result, is_same, max(took, 0.0))


def _plain_generation(
    bench: Workbench, evolution: Evolution, again: _Replay, share: float
) -> PlainSeconds:
    scorer, settings, masks = bench.scorer, evolution.task.settings, again.masks
    wrong = [] if again.is_same else ["the search's own bracket comes to another result"]
    ran = run_candidates(
        scorer.network,
        scorer.plan,
        scorer.images,
        masks,
        share=share,
        workers=scorer.workers,
        precision=scorer.precision,
    )
    scores = ran.scores
    if ran.furthest > _MOST_APART[scorer.precision]:
        wrong.append(f"scores differ by {ran.furthest:.1e} of the largest between memory layouts")
    table, diff = compare_kernels(masks, kernel_names(scorer.plan), share=share)
    whole = share == 1
    if not whole:
        scores, unequal = completed_scores(scores, scorer, masks)
        table, unequal_pairs = completed_table(table, masks, scorer.plan.kernels_per_channel)
        wrong += unequal + unequal_pairs
    passing = passing_of(settings)
    assert passing is not None
    plain = PlainBracket(
        scores,
        scorer.images.counts,
        table,
        fitness_of(settings),
        passing,
        share=share,
        followed=None if whole and bench.subject.device.type == "cpu" else again.stages,
    )
    best = plain.run(again.order, again.keep)
    wrong += disagreements(plain, again.stages, again.result.standing if whole else None)
    expected = tuple(again.result.combination.tolist())
    if best is not None and best != expected:
        wrong.append(f"the best combination is {best}, the search's {expected}")
    rest = diff.seconds + plain.seconds
    return PlainSeconds(
        total=ran.plain.seconds + rest,
        total_same_layout=ran.same_layout.seconds + rest,
        network=ran.plain,
        network_same_layout=ran.same_layout,
        diff=diff,
        bracket=plain.work,
        disagreements=tuple(wrong),
    )


def _summary(
    bench: Workbench,
    settings: DecompositionSettings,
    rows: list[GenerationRow],
    share: float | None,
) -> dict[str, Any]:
    classes, images = bench.scorer.plan.outputs, bench.scorer.images.total
    plain = len(rows) * classes * settings.candidates * images
    passes = sum(row.passes for row in rows)
    seconds = [row.seconds for row in rows]
    found: dict[str, Any] = {
        "generation_seconds": median(one["total"] for one in seconds),
        "bracket_seconds": median(one["bracket"] for one in seconds),
        "diff_seconds": median(one["diff"] for one in seconds),
        "generation": asdict(Seconds.of([one["total"] for one in seconds])),
        "passes": passes,
        "passes_share": passes / plain,
        "passes_per_second": passes / sum(one["total"] for one in seconds),
        "peak_bytes": max(row.peak_bytes for row in rows),
        "rows": [asdict(row) for row in rows],
        "strong_accuracy": bench.strong_accuracy,
        "workers": bench.scorer.workers,
        "settings": settings.model_dump(mode="json"),
        "subject": bench.subject.facts(),
        "environment": environment(bench.subject.device.type),
    }
    pairs = [(row.plain, row.seconds) for row in rows if row.plain is not None]
    if pairs:
        ratios = [one.total / ours["total"] for one, ours in pairs]
        same = [one.total_same_layout / ours["total"] for one, ours in pairs]
        brackets = [
            (one.diff.seconds + one.bracket.seconds) / (ours["diff"] + ours["bracket"])
            for one, ours in pairs
        ]
        found |= {
            "reference_seconds": median(one.total for one, _ in pairs),
            "reference_share": share,
            "generation_ratio": median(ratios),
            "generation_ratio_same_layout": median(same),
            "bracket_ratio": median(brackets),
            "generation_ratios": asdict(Seconds.of(ratios)) | {"each": ratios},
            "generation_ratios_same_layout": asdict(Seconds.of(same)) | {"each": same},
            "bracket_ratios": asdict(Seconds.of(brackets)) | {"each": brackets},
            "disagreements": sorted({text for one, _ in pairs for text in one.disagreements}),
        }
    return found
