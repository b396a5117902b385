"""Running candidates: only on the images that are asked for, and on none of them twice.

What a generation asked about is known in the next one; a candidate that comes back later is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from time import perf_counter
from types import TracebackType
from typing import Literal, Self

import torch
from torch import Tensor, nn

from modularizer.analysis.plan import SlicingPlan
from modularizer.assembly.decode import decode
from modularizer.devices import arithmetic
from modularizer.errors import DecodeError, ModularizerError
from modularizer.search.bracket import Asked
from modularizer.search.diversity import jaccard_distances
from modularizer.search.images import ClassImages

Precision = Literal["float32", "tf32", "bfloat16"]
_Key = tuple[int, bytes]

_TENSOR_BYTES = 512
"""What a small tensor takes beside its values: with 1,000 classes far more than these."""


@dataclass
class Work:
    """What running candidates has taken so far.

    Attributes:
        passes: candidates x images, each counted once however often it was needed.
        reruns: candidates x images that were run again, because a search was resumed or memory
            was short.
        seconds: by stage (``decode``, ``network``, ``diff``); of all workers together.
    """

    passes: int = 0
    reruns: int = 0
    seconds: dict[str, float] = field(
        default_factory=lambda: {"decode": 0.0, "network": 0.0, "diff": 0.0}
    )


@dataclass(frozen=True)
class Job:
    """A candidate to be run.

    Attributes:
        mask: bool (channels,).
        label: the output to score.
        image_classes: whose images.
    """

    mask: Tensor
    label: int
    image_classes: Sequence[int]


@dataclass(frozen=True)
class _Done:
    scores: dict[int, Tensor]
    seconds: dict[str, float]


@dataclass
class _Known:
    """What is known of one candidate: image class -> scores; None where they are not held."""

    scores: dict[int, Tensor | None] = field(default_factory=dict)
    fresh: bool = True


class CandidateScorer:
    """Scores masks of a network on images, class by class.

    A candidate is decoded and run on one micro-batch after the other, on one thread; several
    candidates run side by side, one a worker. So a score depends neither on the number of
    workers nor on what was run before.

    Args:
        network: the whole network, on the images' device.
        plan: its slicing plan.
        images: what to score on.
        workers: candidates that run at once; 1 on a GPU.
        precision: of the candidates' arithmetic.
        remember_bytes: scores are kept up to this size; what is not held is run again.

    Attributes:
        work: passes and seconds so far.
    """

    def __init__(
        self,
        network: nn.Module,
        plan: SlicingPlan,
        images: ClassImages,
        *,
        workers: int = 1,
        precision: Precision = "float32",
        remember_bytes: float = float("inf"),
    ) -> None:
        self.network = network
        self.plan = plan
        self.images = images
        self.precision = precision
        self.work = Work()
        self.remember_bytes = remember_bytes
        self.remembered_bytes = 0
        self.workers = workers
        self._known: dict[_Key, _Known] = {}
        self._pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def scores(self, masks: Tensor, label: int, image_classes: Sequence[int]) -> Tensor:
        """What candidates of one class give on the images of some classes.

        Args:
            masks: bool (k, channels).
            label: the output to score.
            image_classes: whose images.

        Returns:
            float32 (k, images), on the network's device, in the order of ``image_classes``.
        """
        return torch.stack(self.scored([Job(mask, label, image_classes) for mask in masks]))

    def scored(self, wanted: Sequence[Job]) -> list[Tensor]:
        """What each job gives, run side by side where it isn't known.

        Args:
            wanted: the same candidate may be there more than once, on the same classes' images.

        Returns:
            For each float32 (images,), in the order of its ``image_classes``.
        """
        keys = [_key(one.label, one.mask) for one in wanted]
        jobs = dict(zip(keys, wanted, strict=True))
        missing: dict[_Key, Job] = {}
        for key, one in jobs.items():
            known = self._known_of(key).scores
            missing[key] = replace(
                one, image_classes=[c for c in one.image_classes if known.get(c) is None]
            )
        to_run = {key: one for key, one in missing.items() if one.image_classes}
        found: dict[_Key, dict[int, Tensor]] = {}
        with arithmetic(self.precision):
            for key, done in zip(to_run, self._pool.map(self._run, to_run.values()), strict=True):
                found[key] = done.scores
                for stage, seconds in done.seconds.items():
                    self.work.seconds[stage] += seconds
        rows = {
            key: self._gathered(key, one.image_classes, found.get(key, {}))
            for key, one in jobs.items()
        }
        return [rows[key] for key in keys]

    def _known_of(self, key: _Key) -> _Known:
        known = self._known.setdefault(key, _Known())
        known.fresh = True
        return known

    def _gathered(
        self, key: _Key, image_classes: Sequence[int], found: dict[int, Tensor]
    ) -> Tensor:
        known = self._known[key].scores
        for image_class, scores in found.items():
            if image_class in known:
                self.work.reruns += len(scores)
            else:
                self.work.passes += len(scores)
            size = _held_bytes(scores)
            holds = self.remembered_bytes + size <= self.remember_bytes
            known[image_class] = scores if holds else None
            self.remembered_bytes += size if holds else 0
        parts = []
        for image_class in image_classes:
            part = found.get(image_class)
            held = known[image_class] if part is None else part
            assert held is not None
            parts.append(held)
        return torch.cat(parts)

    def _run(self, job: Job) -> _Done:
        began = perf_counter()
        candidate = decode(self.network, self.plan, job.mask, output=job.label)
        if self.precision == "bfloat16":
            candidate = candidate.to(torch.bfloat16)
        decoded = perf_counter()
        try:
            with torch.inference_mode():
                scores = {one: self._on_class(candidate, one) for one in job.image_classes}
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise DecodeError(
                f"a network cut for class {job.label} fails: {error}; the slicing plan is wrong "
                "for this network"
            ) from error
        return _Done(scores, {"decode": decoded - began, "network": perf_counter() - decoded})

    def _on_class(self, candidate: nn.Module, image_class: int) -> Tensor:
        batches = self.images.batches(image_class)
        if self.precision == "bfloat16":
            batches = (batch.to(torch.bfloat16) for batch in batches)
        return torch.cat([candidate(batch)[:, 0] for batch in batches]).to(torch.float32)

    def next_generation(self) -> None:
        """Forget the candidates that were not asked about since the last call."""
        self._known = {key: known for key, known in self._known.items() if known.fresh}
        self.remembered_bytes = 0
        for known in self._known.values():
            known.fresh = False
            self.remembered_bytes += sum(
                _held_bytes(scores) for scores in known.scores.values() if scores is not None
            )

    def forget(self) -> None:
        """Forget everything."""
        self._known = {}
        self.remembered_bytes = 0

    def ran(self, masks: Tensor) -> Tensor:
        """On which classes' images candidates have been run, as far as that is remembered.

        Args:
            masks: bool (classes, candidates, channels).

        Returns:
            bool (classes, candidates, image classes).
        """
        found = torch.zeros(*masks.shape[:2], len(self.images.counts), dtype=torch.bool)
        for label, of_class in enumerate(masks):
            for candidate, mask in enumerate(of_class):
                known = self._known.get(_key(label, mask))
                if known is not None:
                    found[label, candidate, list(known.scores)] = True
        return found

    def remember(self, masks: Tensor, ran: Tensor) -> None:
        """Count candidates as run that another process has run; shapes as in `ran`."""
        for label, candidate in ran.any(dim=2).nonzero().tolist():
            known = self._known_of(_key(label, masks[label, candidate]))
            for image_class in ran[label, candidate].nonzero().flatten().tolist():
                known.scores.setdefault(image_class, None)

    def composed_accuracy(self, masks: Tensor) -> float:
        """The accuracy of the model composed of one mask a class.

        Args:
            masks: bool (classes, channels).

        Raises:
            ModularizerError: if a score is NaN or infinite.
        """
        classes = range(len(self.images.counts))
        given = self.scored([Job(masks[label], label, classes) for label in classes])
        columns = torch.stack(given)
        if not torch.isfinite(columns).all():
            label = int((~torch.isfinite(columns)).any(dim=1).nonzero()[0, 0])
            raise ModularizerError(
                f"the network cut for class {label} gives NaN or infinite scores on validation "
                "images; the strong model's activations overflow, or its images are broken"
            )
        labels = torch.arange(len(classes)).repeat_interleave(torch.tensor(self.images.counts))
        predicted = columns.argmax(dim=0).cpu()
        return float((predicted == labels).double().mean())


class Generation:
    """The candidates of one generation, as a bracket asks about them.

    Args:
        scorer: runs them.
        masks: bool (classes, candidates, channels), on the CPU.
    """

    def __init__(self, scorer: CandidateScorer, masks: Tensor) -> None:
        self._scorer = scorer
        self._masks = masks
        self.image_counts = scorer.images.counts
        self.count = masks.shape[1]

    def scores(self, asked: Sequence[Asked]) -> list[Tensor]:
        """Scores of a whole stage, its candidates run side by side: of each (k, images)."""
        jobs = [
            [
                Job(self._masks[one.label][row], one.label, one.image_classes)
                for row in one.candidates.tolist()
            ]
            for one in asked
        ]
        found = iter(self._scorer.scored([job for of_class in jobs for job in of_class]))
        return [torch.stack(list(islice(found, len(of_class)))) for of_class in jobs]

    def distances(self, first: int, of_first: Tensor, second: int, of_second: Tensor) -> Tensor:
        """Jaccard distances between candidates of two classes: float32 (k of one, k of other)."""
        began = perf_counter()
        found = jaccard_distances(
            self._masks[first][of_first.cpu()],
            self._masks[second][of_second.cpu()],
            self._scorer.plan.kernels_per_channel,
        )
        self._scorer.work.seconds["diff"] += perf_counter() - began
        return found


def _key(label: int, mask: Tensor) -> _Key:
    return label, mask.cpu().numpy().tobytes()


def _held_bytes(scores: Tensor) -> int:
    return scores.numel() * scores.element_size() + _TENSOR_BYTES
