"""Parts of the search by themselves: bracket and Diff on known scores, and decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from benchmarks.search.agreement import Recorded, completed_table, disagreements
from benchmarks.search.reference import PlainBracket, Scores, compare_kernels
from benchmarks.search.sampling import Sampled
from benchmarks.search.timing import Seconds, timed
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.decode import decode
from modularizer.search.bracket import Asked, run_bracket
from modularizer.search.diversity import jaccard_distances
from modularizer.search.fitness import Fitness, FittestPass


@dataclass(frozen=True)
class BracketSize:
    """How much a bracket is given; the defaults are those of the published aim."""

    classes: int = 10
    candidates: int = 100
    images: int = 2000
    channels: int = 4224
    top: int = 100


class KnownScores:
    """Candidates whose scores are all there: random ones that favour their own class.

    So stages keep and drop models as in a search; the time does not depend on what the scores
    are.
    """

    def __init__(self, size: BracketSize, generator: torch.Generator) -> None:
        self.count = size.candidates
        labels = torch.arange(size.images) % size.classes
        self.image_counts = torch.bincount(labels).tolist()
        shape = (size.candidates, size.images)
        self.columns = [
            (torch.randn(shape, generator=generator) + 2 * (labels == own))[
                :, labels.argsort()
            ].split(self.image_counts, dim=1)
            for own in range(size.classes)
        ]
        masks = (size.classes, size.candidates, size.channels)
        self.masks = torch.rand(masks, generator=generator) < 0.5
        self.kernels = torch.ones(size.channels, dtype=torch.int64)
        self.diff_seconds = 0.0

    def scores(self, asked: Sequence[Asked]) -> list[Tensor]:
        """Known scores: of each float32 (k, images)."""
        return [
            torch.cat([self.columns[of.label][one][of.candidates] for one in of.image_classes], 1)
            for of in asked
        ]

    def distances(self, first: int, of_first: Tensor, second: int, of_second: Tensor) -> Tensor:
        """Jaccard distances, timed."""
        began = perf_counter()
        a, b = self.masks[first][of_first], self.masks[second][of_second]
        found = jaccard_distances(a, b, self.kernels)
        self.diff_seconds += perf_counter() - began
        return found

    def in_one(self) -> Scores:
        """All scores: (classes, candidates, images)."""
        return torch.stack([torch.cat(parts, dim=1) for parts in self.columns]).numpy()


def measure_bracket(
    size: BracketSize, *, repeats: int = 5, seed: int = 0, reference_share: float | None = None
) -> dict[str, Any]:
    """Time one bracket, and in it the matrix products of Diff, on random scores.

    Args:
        size: how much it is given.
        repeats: timed runs, after one that is not counted; each pairs the classes anew.
        seed: of scores, masks and pairings.
        reference_share: do the same the plain way after each run, this share of it, in (0, 1],
            scaled up to all of it; None to leave that out.

    Returns:
        ``bracket_seconds`` (without Diff) and ``diff_seconds`` (medians), with spread and sizes;
        with a reference ``bracket_ratio`` (bracket and Diff together, median of the pairs).
    """
    generator = torch.Generator().manual_seed(seed)
    known = KnownScores(size, generator)
    fitness, passing = Fitness(0.9), FittestPass(size.top)
    run_bracket(known, fitness=fitness, passing=passing, generator=generator)
    diff, bracket, plain = [], [], []
    for _ in range(repeats):
        before = generator.clone_state()
        known.diff_seconds = 0.0
        began = perf_counter()
        run_bracket(known, fitness=fitness, passing=passing, generator=generator)
        diff.append(known.diff_seconds)
        bracket.append(perf_counter() - began - known.diff_seconds)
        if reference_share is not None:
            plain.append(_plain_bracket(known, fitness, passing, before, reference_share))
    found: dict[str, Any] = {
        "bracket_seconds": Seconds.of(bracket).median,
        "diff_seconds": Seconds.of(diff).median,
        "bracket": asdict(Seconds.of(bracket)),
        "diff": asdict(Seconds.of(diff)),
        "size": asdict(size),
    }
    if plain:
        pairs = list(zip(plain, bracket, diff, strict=True))
        ratios = [(b.seconds + d.seconds) / (ours + own) for (b, d, _), ours, own in pairs]
        found |= {
            "reference_share": reference_share,
            "bracket_ratio": Seconds.of(ratios).median,
            "bracket_ratios": asdict(Seconds.of(ratios)) | {"each": ratios},
            "plain_bracket": asdict(Seconds.of([b.seconds for b, _, _ in plain])),
            "plain_diff": asdict(Seconds.of([d.seconds for _, d, _ in plain])),
            "models_judged": [(b.done, b.total) for b, _, _ in plain],
            "pairs_compared": [(d.done, d.total) for _, d, _ in plain],
            "disagreements": sorted({text for _, _, wrong in plain for text in wrong}),
        }
    return found


def _plain_bracket(
    known: KnownScores,
    fitness: Fitness,
    passing: FittestPass,
    generator: torch.Generator,
    share: float,
) -> tuple[Sampled, Sampled, list[str]]:
    """The same bracket the plain way: its time, that of Diff, and where the results differ."""
    recorder = Recorded(passing)
    order = torch.randperm(len(known.image_counts), generator=generator.clone_state()).tolist()
    ours = run_bracket(known, fitness=fitness, passing=recorder, generator=generator)
    names = [[f"kernel/{place}"] for place in range(known.masks.shape[2])]
    table, diff = compare_kernels(known.masks, names, share=share)
    wrong: list[str] = []
    if share < 1:
        table, wrong = completed_table(table, known.masks, known.kernels)
    plain = PlainBracket(
        known.in_one(),
        known.image_counts,
        table,
        fitness,
        passing,
        share=share,
        followed=recorder.stages if share < 1 else None,
    )
    best = plain.run(order, None)
    wrong += disagreements(plain, recorder.stages, ours.standing if share == 1 else None)
    if best is not None and best != tuple(ours.combination.tolist()):
        wrong.append("another best combination")
    return plain.work, diff, wrong


def measure_decoding(
    *, width_multiplier: float, kept_share: float = 0.6, images: int = 500, repeats: int = 5
) -> dict[str, Any]:
    """Time decoding a SimCNN class module, and running it on images, 32 x 32 RGB.

    Args:
        width_multiplier: of the paper's widths.
        kept_share: share of each segment's channels that stay; 0.57 in the paper's mean.
        images: how many the module is run on.
        repeats: timed runs, after one that is not counted.

    Returns:
        ``decode_seconds`` and ``run_seconds`` (medians), ``decode_share`` their ratio.
    """
    spec = ArchitectureSpec(
        name="simcnn", arguments={"num_classes": 10, "width_multiplier": width_multiplier}
    )
    network = build_network(spec).eval()
    plan = slicing_plan(network, (3, 32, 32))
    kept = torch.ones(plan.channels, dtype=torch.bool)
    for segment in plan.segments:
        stays = max(1, round(len(segment) * kept_share))
        kept[segment.start + stays : segment.stop] = False
    module = decode(network, plan, kept, output=0)
    batch = torch.randn(images, 3, 32, 32)

    def run() -> Tensor:
        with torch.inference_mode():
            scores: Tensor = module(batch)
        return scores

    decoding: Seconds = timed(lambda: decode(network, plan, kept, output=0), repeats=repeats * 4)
    running: Seconds = timed(run, repeats=repeats)
    return {
        "width_multiplier": width_multiplier,
        "decode_seconds": decoding.median,
        "run_seconds": running.median,
        "decode_share": decoding.median / running.median,
        "decode": asdict(decoding),
        "run": asdict(running),
        "images": images,
    }
