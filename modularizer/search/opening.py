"""What a search on a classifier runs candidates with: memory, images and a scorer."""

from __future__ import annotations

from modularizer.analysis.plan import SlicingPlan
from modularizer.classifier import Classifier
from modularizer.datasets.images import ImageSet
from modularizer.memory import MemoryPlan, plan_memory
from modularizer.preprocessing import as_tensor
from modularizer.search.images import ClassImages
from modularizer.search.scoring import CandidateScorer
from modularizer.settings import DecompositionSettings


def images_for(
    strong: Classifier, images: ImageSet, settings: DecompositionSettings, *, keep_bytes: float = 0
) -> ClassImages:
    """Images as a classifier's candidates are given them.

    Args:
        strong: prepares them, on its device.
        images: of every class.
        settings: how many at a time.
        keep_bytes: prepared images are kept up to this size; none where each is looked at once.
    """
    return ClassImages(
        images,
        prepare=strong.prepare,
        device=strong.device,
        micro_batch=settings.batch_size,
        keep_bytes=keep_bytes,
    )


def open_scorer(
    strong: Classifier,
    plan: SlicingPlan,
    validation: ImageSet,
    settings: DecompositionSettings,
    *,
    workers: int,
    memory_limit: int | None,
) -> tuple[CandidateScorer, MemoryPlan]:
    """A scorer of a classifier's candidates, to be closed, and what it may do with memory.

    Args:
        strong: the whole classifier.
        plan: its slicing plan.
        validation: what candidates are scored on.
        settings: micro-batches and precision.
        workers: candidates that may run at once; on a GPU it is one.
        memory_limit: bytes; None for half of what is free.

    Raises:
        ModularizerError: if memory is short.
    """
    largest = as_tensor(validation.images[: settings.batch_size], strong.device)
    memory = plan_memory(
        strong.network,
        strong.prepare(largest),
        limit=memory_limit,
        workers=1 if strong.device.type == "cuda" else workers,
    )
    scorer = CandidateScorer(
        strong.network,
        plan,
        images_for(strong, validation, settings, keep_bytes=memory.prepared),
        workers=memory.workers,
        precision=settings.precision,
        remember_bytes=memory.remembered,
    )
    return scorer, memory
