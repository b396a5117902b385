"""A generation's work done the plain way: what the search's speed is measured against.

Written from the paper's description (section 3) in the structure of its published code: every
candidate is decoded and run on every image; the Jaccard distance between any two candidates of
different classes is taken between Python sets of kernel names, once, before the bracket; each
composed model of each stage is judged by an argmax of its own over its classes' images. Nothing
is slowed down: sets are made once a candidate, images of a stage are cut out once a stage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations, repeat
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.search.sampling import Sampled, sample_of
from modularizer.analysis.plan import SlicingPlan
from modularizer.assembly.decode import decode
from modularizer.search.fitness import Fitness, Passing
from modularizer.search.images import ClassImages
from modularizer.search.scoring import Precision

Scores = NDArray[np.float32]
"""(classes, candidates, images): what a candidate gives for its class; images sorted by class."""

Table = Mapping[tuple[int, int], list[list[float]]]
"""Jaccard distances: classes in rising order -> candidate of the one -> candidate of the other."""

Combination = tuple[int, ...]


@dataclass(frozen=True)
class Judged:
    """The composed models of one stage, of one pair of teams.

    Attributes:
        classes: how many each model has.
        fitness: float64 (models,).
        accuracy: float64 (models,).
        chosen: int64: which of them went on, the fittest first.
    """

    classes: int
    fitness: Tensor
    accuracy: Tensor
    chosen: Tensor


@dataclass(frozen=True)
class Ran:
    """Every candidate run on every image.

    Attributes:
        scores: in the search's memory layout, equal to the search's to the bit; NaN of candidates
            that were not run.
        plain: the time in torch's own layout (N, C, H, W).
        same_layout: the time in the search's, with channels innermost.
        furthest: the largest difference between the two, as a share of the largest score.
    """

    scores: Scores
    plain: Sampled
    same_layout: Sampled
    furthest: float


def run_candidates(
    network: nn.Module,
    plan: SlicingPlan,
    images: ClassImages,
    masks: Tensor,
    *,
    share: float = 1.0,
    workers: int = 1,
    precision: Precision = "float32",
) -> Ran:
    """Decode every candidate and run it on every image, once in each memory layout.

    Args:
        network: the whole network.
        plan: its slicing plan.
        images: in micro-batches, the same that the search uses.
        masks: bool (classes, candidates, channels).
        share: of the candidates that are run, in (0, 1].
        workers: candidates at once, each on one thread.
        precision: of the arithmetic.
    """
    classes, candidates, _ = masks.shape
    places = [divmod(one, candidates) for one in sample_of(classes * candidates, share)]
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32

    def run(place: tuple[int, int], layout: Callable[[Tensor], Tensor]) -> NDArray[np.float32]:
        label, candidate = place
        module = decode(network, plan, masks[label, candidate], output=label).to(dtype)
        with torch.inference_mode():
            batches = (batch for one in range(len(images.counts)) for batch in images.batches(one))
            given = torch.cat([module(layout(batch.to(dtype)))[:, 0] for batch in batches])
        scores: NDArray[np.float32] = given.float().cpu().numpy()
        return scores

    def run_all(layout: Callable[[Tensor], Tensor]) -> tuple[Scores, Sampled]:
        scores = np.full((classes, candidates, images.total), np.nan, dtype=np.float32)
        began = perf_counter()
        for (label, candidate), row in zip(
            places, pool.map(run, places, repeat(layout)), strict=True
        ):
            scores[label, candidate] = row
        return scores, Sampled.of(perf_counter() - began, len(places), classes * candidates)

    with (
        torch.backends.cudnn.flags(enabled=True, allow_tf32=precision == "tf32"),
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        in_torch_s, plain = run_all(Tensor.contiguous)
        scores, same = run_all(lambda batch: batch)
    largest = float(np.nanmax(np.abs(scores))) or 1.0
    furthest = float(np.nanmax(np.abs(scores - in_torch_s))) / largest
    return Ran(scores, plain, same, furthest)


def kernel_names(plan: SlicingPlan) -> list[list[str]]:
    """For each channel the names of the kernels that it stands for: ``layer/position``."""
    names: list[list[str]] = [[] for _ in range(plan.channels)]
    for layer in dict.fromkeys(layer for segment in plan.segments for layer in segment.layers):
        for position, channel in enumerate(plan.entries[f"{layer}.weight"][0].tolist()):
            if channel < plan.channels:
                names[channel].append(f"{layer}/{position}")
    return names


def compare_kernels(
    masks: Tensor, names: Sequence[Sequence[str]], *, share: float = 1.0
) -> tuple[Table, Sampled]:
    """The Jaccard distance between any two candidates of different classes, by Python sets.

    Rounded to float32, as the search has it: sums of such distances are exact in any order.

    Args:
        masks: bool (classes, candidates, channels).
        names: of each channel's kernels.
        share: of the pairs that are compared, in (0, 1]; the others are NaN.
    """
    classes, candidates, _ = masks.shape
    pairs = list(combinations(range(classes), 2))
    table = {pair: [[math.nan] * candidates for _ in range(candidates)] for pair in pairs}
    compared = sample_of(candidates * candidates, share)
    began = perf_counter()
    kernels = [
        [{name for place in mask.nonzero().flatten().tolist() for name in names[place]}
         for mask in of_class]
        for of_class in masks
    ]  # fmt: skip
    making = perf_counter() - began
    one = np.float32(1)
    began = perf_counter()
    for a, b in pairs:
        rows = table[a, b]
        for index in compared:
            i, j = divmod(index, candidates)
            first, second = kernels[a][i], kernels[b][j]
            rows[i][j] = float(one - np.float32(len(first & second) / len(first | second)))
    took = Sampled.of(
        perf_counter() - began, len(pairs) * len(compared), len(pairs) * candidates**2
    )
    return table, Sampled(took.seconds + making, took.done, took.total)


@dataclass(frozen=True, eq=False)
class _Cut:
    """What models of the same classes are judged by.

    Attributes:
        truth: int64 (images,): which of the columns an image belongs to.
        columns: in class order, the place of a class in a model and its candidates' scores,
            float32 (candidates, images).
        tables: of two such places the distances between their candidates.
    """

    truth: NDArray[np.int64]
    columns: list[tuple[int, Scores]]
    tables: list[tuple[int, int, list[list[float]]]]


def _judged(cut: _Cut, models: list[Combination]) -> tuple[list[float], list[float]]:
    """Accuracy, and the sum of distances over pairs, of each model."""
    accuracy, distance = [], []
    for model in models:
        given = np.stack([rows[model[place]] for place, rows in cut.columns], axis=1)
        accuracy.append(int((given.argmax(axis=1) == cut.truth).sum()) / len(cut.truth))
        distance.append(sum(rows[model[x]][model[y]] for x, y, rows in cut.tables))
    return accuracy, distance


@dataclass
class PlainBracket:
    """A bracket that judges composed models one after the other.

    Attributes:
        scores: of every candidate on every image.
        image_counts: images of each class.
        table: distances between candidates.
        fitness: what a composed model is worth.
        passing: which models of a stage go on.
        share: of each stage's models that are judged, in (0, 1].
        followed: what another bracket found at each stage, to go on with its models; needed where
            only a share is judged.
        stages: what was judged, stage by stage: indices and ``Judged``.
        standing: float64 (classes, candidates), as `BracketResult` has it.
    """

    scores: Scores
    image_counts: Sequence[int]
    table: Table
    fitness: Fitness
    passing: Passing
    share: float = 1.0
    followed: Sequence[Judged] | None = None
    keeps_one: bool = False
    stages: list[tuple[list[int], Judged]] = field(default_factory=list)
    standing: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0
    judged: int = 0
    models: int = 0

    def run(self, order: Sequence[int], keep: Sequence[int] | None) -> Combination | None:
        """Pair the classes in this order, stage by stage.

        Args:
            order: the classes.
            keep: for each class the candidate of a combination that stays in, or None.

        Returns:
            The best combination's candidates, class by class; None where not all was judged.
        """
        candidates = self.scores.shape[1]
        self.standing = [[0.0] * candidates for _ in self.image_counts]
        self.keeps_one = keep is not None
        teams: list[tuple[Combination, list[Combination]]] = []
        for label in order:
            first = [] if keep is None else [keep[label]]
            members = first + [one for one in range(candidates) if one not in first]
            teams.append(((label,), [(one,) for one in members]))
        best = 0
        while len(teams) > 1:
            merged = []
            for (a, first_models), (b, second_models) in zip(
                teams[0::2], teams[1::2], strict=False
            ):
                models, best = self._merge(a + b, first_models, second_models)
                merged.append((a + b, models))
            teams = merged + teams[len(teams) // 2 * 2 :]
        if self.judged < self.models:
            return None
        classes, models = teams[0]
        found = dict(zip(classes, models[best], strict=True))
        return tuple(found[label] for label in range(len(classes)))

    @property
    def work(self) -> Sampled:
        """How much was judged, and what all of it takes."""
        return Sampled(self.seconds, self.judged, self.models)

    def _merge(
        self, classes: Combination, first: list[Combination], second: list[Combination]
    ) -> tuple[list[Combination], int]:
        """Judge the models of two teams; those that go on, and where the fittest of them is."""
        began = perf_counter()
        cut = self._cut(classes)
        once = perf_counter() - began

        began = perf_counter()
        total = len(first) * len(second)
        indices = sample_of(total, self.share)
        models = [first[one // len(second)] + second[one % len(second)] for one in indices]
        accuracy, distance = _judged(cut, models)
        size = len(classes)
        pairs = size * (size - 1) // 2
        accuracies = torch.tensor(accuracy, dtype=torch.float64)
        fitness = self.fitness(accuracies, torch.tensor(distance, dtype=torch.float64) / pairs)
        self._note_standing(classes, models, (size + fitness / 2).tolist())
        took = perf_counter() - began

        began = perf_counter()
        chosen = self._chosen(fitness, accuracies, size)
        self.stages.append((indices, Judged(size, fitness, accuracies, chosen)))
        gone_on = [first[one // len(second)] + second[one % len(second)] for one in chosen.tolist()]
        best = int(fitness[chosen].argmax()) if len(indices) == total else 0
        once += perf_counter() - began
        self.seconds += once + took * total / len(indices)
        self.judged += len(indices)
        self.models += total
        return gone_on, best

    def _cut(self, classes: Combination) -> _Cut:
        """What the models of these classes are judged by, cut out once for all of them."""
        ends = np.cumsum(self.image_counts)
        in_order = sorted(range(len(classes)), key=classes.__getitem__)  # ties: the lower class
        counts = [self.image_counts[classes[place]] for place in in_order]
        where = np.concatenate(
            [np.arange(ends[c] - self.image_counts[c], ends[c]) for c in sorted(classes)]
        )
        return _Cut(
            truth=np.repeat(np.arange(len(classes)), counts),
            columns=[(place, self.scores[classes[place]][:, where]) for place in in_order],
            tables=[
                (x, y, self.table[classes[x], classes[y]]) for x, y in combinations(in_order, 2)
            ],
        )

    def _note_standing(
        self, classes: Combination, models: list[Combination], worth: list[float]
    ) -> None:
        for model, value in zip(models, worth, strict=True):
            for label, candidate in zip(classes, model, strict=True):
                if value > self.standing[label][candidate]:
                    self.standing[label][candidate] = value

    def _chosen(self, fitness: Tensor, accuracy: Tensor, classes: int) -> Tensor:
        first = int(self.keeps_one)  # what must stay in comes first in every team
        if self.followed is not None:
            chosen = self.followed[len(self.stages)].chosen
        else:
            chosen = self.passing.chosen(fitness[first:], accuracy[first:], classes)
        return torch.cat([torch.zeros(first, dtype=torch.int64), first + chosen])
