"""Taking a strong network apart: importance, groups, sensitivity, search (section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import torch
from torch import Tensor

from modularizer.analysis.importance import importance
from modularizer.analysis.keeping import keeping_each_layer
from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.sensitivity import Sensitivity, measure_sensitivity
from modularizer.analysis.tracing import slicing_plan
from modularizer.analysis.trial import masks_removing_each
from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.decode import decode
from modularizer.assembly.masking import verify_decoded
from modularizer.checkpoint import Checkpoint, Identity, weights_digest
from modularizer.classifier import Classifier, inference, input_needs
from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.images import ImageSet
from modularizer.datasets.splits import with_validation_images
from modularizer.devices import arithmetic, require_device
from modularizer.errors import DataError, DecodeError, ModularizerError, PlanError
from modularizer.memory import MemoryPlan, require_memory_for_gradients
from modularizer.preprocessing import as_tensor
from modularizer.progress import ProgressCallback, ignore_progress
from modularizer.search.bracket import require_few_combinations
from modularizer.search.descent import gradient_search
from modularizer.search.evolution import genetic_search
from modularizer.search.opening import images_for, open_scorer
from modularizer.search.population import random_masks_like
from modularizer.search.task import Masks, SearchTask, generator_for
from modularizer.settings import DecompositionSettings
from modularizer.software import software_versions

_PROBED = 32
"""Images on which every class module is compared with the masked strong network."""


@dataclass(frozen=True)
class Resources:
    """What a decomposition may use; none of it changes the result.

    Attributes:
        workers: candidates that run at once, each on a thread of its own.
        memory_limit: bytes; None for half of what is free.
        checkpoint: file in which every step is kept, and from which an interrupted
            decomposition goes on; None to keep nothing.
    """

    workers: int = 1
    memory_limit: int | None = None
    checkpoint: Path | None = None


@dataclass(frozen=True, eq=False)
class Parts:
    """A strong classifier taken apart.

    Attributes:
        class_modules: one for each class, in output order, on the CPU; each verified against the
            masked strong network.
        plan: the strong network's slicing plan.
        sensitivity: what each segment's loss costs; None if the search had no use for it.
        masks: what the search found.
        strong_accuracy: on the validation images, in [0, 1].
        random_masks: bool (draws, classes, channels): masks that keep as many channels of each
            segment, chosen at random.
        random_accuracy: composed accuracy of each draw on the validation images.
        passes: network x images run, by part: ``sensitivity``, ``search``, and for a genetic
            search ``plain``: every candidate on every image, generation after generation.
        reruns: network x images run again, because memory was short or the search was resumed.
        memory: what the search did with its memory.
    """

    class_modules: tuple[ClassModule, ...]
    plan: SlicingPlan
    sensitivity: Sensitivity | None
    masks: Masks
    strong_accuracy: float
    random_masks: Tensor
    random_accuracy: tuple[float, ...]
    passes: Mapping[str, int]
    reruns: int
    memory: MemoryPlan


def decompose(
    strong: Classifier,
    data: DataSplits,
    settings: DecompositionSettings,
    *,
    resources: Resources | None = None,
    progress: ProgressCallback = ignore_progress,
) -> Parts:
    """Take a strong classifier apart into one class module for each class.

    Importance is read on training images, every choice is made on validation images; test
    images are not looked at.

    Args:
        strong: a trained classifier; left as it is.
        data: splits with exactly its classes.
        settings: how.
        resources: what it may use.
        progress: told after each class (``importance``), segment (``sensitivity``) and generation
            (``search``) or epoch (``gradient search``) with the generations after it (``polish``).

    Raises:
        DataError: if the classes differ, or one has no training or validation image.
        PlanError: if the network can't be sliced; nothing has been done then.
        DecodeError: if a decoded module differs from the masked network.
        CheckpointError: if the checkpoint is of something else, or broken.
        ModularizerError: if feature maps or scores are not finite, the strong classifier is no
            better than chance, or memory is short.
    """
    resources = resources or Resources()
    _require_fitting(strong, data)
    identity = identity_of(strong, data, settings)
    if settings.validation_images:
        data = with_validation_images(data, settings.validation_images, seed=settings.seed)
    plan = slicing_plan(strong.network, (strong.preprocessing.channels, *strong.preprocessing.size))
    if plan.outputs != len(strong.class_names):
        raise PlanError(
            f"the network gives {plan.outputs} scores, the model names "
            f"{len(strong.class_names)} classes; each class needs one score"
        )
    compares = settings.search == "genetic" or settings.polish_generations > 0
    if compares and not settings.bracket:
        require_few_combinations(settings.candidates, len(strong.class_names))
    require_device(strong.device.type, settings.precision)
    probe = strong.prepare(as_tensor(data.validation.images[:_PROBED], strong.device))
    require_sliceable(strong, plan, probe[:2])
    checkpoint = Checkpoint(resources.checkpoint, identity)
    scorer, memory = open_scorer(
        strong,
        plan,
        data.validation,
        settings,
        workers=resources.workers,
        memory_limit=resources.memory_limit,
    )
    if settings.search == "gradient":
        step = as_tensor(data.validation.images[: settings.gradient_batch], strong.device)
        require_memory_for_gradients(
            strong.network, strong.prepare(step), len(strong.class_names), memory.limit
        )
    with scorer, arithmetic(settings.precision):
        strong_accuracy = scorer.composed_accuracy(
            torch.ones(len(strong.class_names), plan.channels, dtype=torch.bool)
        )
        _require_better_than_chance(strong_accuracy, data.validation)
        weight = _importance(strong, data.train, plan, settings, checkpoint, progress)
        task = SearchTask(scorer, weight, settings, checkpoint, progress)
        sensitivity, measuring = None, 0
        if settings.search == "gradient":
            masks = gradient_search(
                task,
                as_tensor(data.train.images),
                torch.from_numpy(data.train.labels),
                strong.prepare,
                (strong.preprocessing.channels, *strong.preprocessing.size),
            )
        else:
            if settings.first_population != "random":
                sensitivity, measuring = _sensitivity(task, strong_accuracy)
            masks = genetic_search(task, sensitivity)
        random_masks, random_accuracy = _random_masks(task, masks)
    return Parts(
        class_modules=tuple(
            _class_module(strong, plan, kept, output, probe).cpu()
            for output, kept in enumerate(masks.kept)
        ),
        plan=plan,
        sensitivity=sensitivity,
        masks=masks,
        strong_accuracy=strong_accuracy,
        random_masks=random_masks,
        random_accuracy=random_accuracy,
        passes=_passes(task, masks, measuring),
        reruns=task.scorer.work.reruns,
        memory=memory,
    )


def _passes(task: SearchTask, masks: Masks, measuring: int) -> dict[str, int]:
    found = {"sensitivity": measuring, "search": masks.passes}
    if task.settings.search == "genetic":
        a_generation = task.classes * task.settings.candidates * task.scorer.images.total
        found["plain"] = len(masks.history) * a_generation
    return found


def identity_of(strong: Classifier, data: DataSplits, settings: DecompositionSettings) -> Identity:
    """Everything that the result of a decomposition depends on."""
    task = {
        "architecture": strong.architecture.model_dump(mode="json"),
        "preprocessing": strong.preprocessing.model_dump(mode="json"),
        "weights": weights_digest(strong.network),
        "data": data.fingerprint,
        "settings": settings.model_dump(mode="json"),
        "device": strong.device.type,
    }
    return Identity(task, software_versions("patchbay", "torch", "numpy"))


def _importance(
    strong: Classifier,
    train: ImageSet,
    plan: SlicingPlan,
    settings: DecompositionSettings,
    checkpoint: Checkpoint,
    progress: ProgressCallback,
) -> Tensor:
    if (saved := checkpoint.load("importance")) is not None:
        return saved.tensors["importance"]
    images = images_for(strong, train, settings)
    found = importance(
        strong.network,
        plan,
        [images.batches(label) for label in range(len(images.counts))],
        progress=progress,
    )
    if not torch.isfinite(found).all():
        raise ModularizerError(
            "feature maps of the training images hold NaN or infinity; the strong model's "
            "activations overflow, or its weights are broken"
        )
    checkpoint.save("importance", {"importance": found}, {})
    return found


def _sensitivity(task: SearchTask, strong_accuracy: float) -> tuple[Sensitivity, int]:
    """The sensitivity of each segment, and the passes that measuring it took."""
    saved = task.checkpoint.load("sensitivity")
    before = task.scorer.work.passes - (0 if saved is None else saved.facts["passes"])

    def keep(rows: Tensor) -> None:
        passes = task.scorer.work.passes - before
        task.checkpoint.save("sensitivity", {"accuracy": rows}, {"passes": passes})

    found = measure_sensitivity(
        task.plan,
        task.importance,
        task.scorer.composed_accuracy,
        unharmed=strong_accuracy,
        tolerated_loss=task.settings.tolerated_loss,
        known=None if saved is None else saved.tensors["accuracy"],
        on_segment=keep,
        progress=task.progress,
    )
    return found, task.scorer.work.passes - before


def _random_masks(task: SearchTask, masks: Masks) -> tuple[Tensor, tuple[float, ...]]:
    """Masks that keep as much, chosen at random, and how the models composed of them do."""
    generator = generator_for(task.settings.seed, "random masks")
    segments = [segment.channels for segment in task.plan.segments]
    draws = []
    for _ in range(task.settings.random_draws):
        draw = random_masks_like(masks.kept, segments, generator)
        preference = torch.rand(draw.shape, generator=generator)
        draws.append(keeping_each_layer(draw, preference, task.plan))
    return torch.stack(draws), tuple(task.scorer.composed_accuracy(draw) for draw in draws)


def _require_better_than_chance(accuracy: float, validation: ImageSet) -> None:
    counts = torch.bincount(torch.from_numpy(validation.labels))
    chance = float(counts.max()) / len(validation)
    spread = (chance * (1 - chance) / len(validation)) ** 0.5
    if accuracy <= chance + 2 * spread:
        raise ModularizerError(
            f"the strong model is right on {accuracy:.3f} of {len(validation)} validation images; "
            f"always naming the most frequent class is right on {chance:.3f}. There is nothing "
            "to take apart: train it first, or check that the data is what it was trained on"
        )


def _class_module(
    strong: Classifier, plan: SlicingPlan, kept: Tensor, output: int, images: Tensor
) -> ClassModule:
    network = decode(strong.network, plan, kept, output=output)
    verify_decoded(network, strong.network, plan, kept, output=output, images=images)
    return ClassModule(
        network,
        architecture=strong.architecture,
        kept=kept,
        output=output,
        class_name=strong.class_names[output],
        preprocessing=strong.preprocessing,
    )


def _require_fitting(strong: Classifier, data: DataSplits) -> None:
    if data.class_names != strong.class_names:
        raise DataError(
            f"the model's classes are {', '.join(strong.class_names)}, the data's "
            f"{', '.join(data.class_names)}; choose the data's classes to match, in that order"
        )
    if len(strong.class_names) < 2:
        raise DataError("a model with a single class can't be taken apart")
    for name, split in (("training", data.train), ("validation", data.validation)):
        for class_name in split.class_names:
            if not _has_images(split, class_name):
                raise DataError(f"class {class_name!r} has no {name} image")


def _has_images(split: ImageSet, class_name: str) -> bool:
    return bool((split.labels == split.class_index(class_name)).any())


def require_sliceable(strong: Classifier, plan: SlicingPlan, images: Tensor) -> None:
    """Remove every channel once and compare, before any work: a wrong plan is found here.

    Args:
        strong: the whole classifier.
        plan: its slicing plan.
        images: a few prepared ones, float (N, C, H, W).

    Raises:
        PlanError: if a sliced network gives other scores than the masked one, or can't run; or
            if the whole one writes into its images.
        ModularizerError: if the whole one gives NaN or infinite scores.
    """
    with inference(strong.network):
        if not torch.isfinite(strong.network(images)).all():
            raise ModularizerError(
                "the strong model gives NaN or infinite scores; its weights are broken, or its "
                "activations overflow"
            )
    if input_needs(strong.network, images).own_copy:
        raise PlanError(
            f"the network ({type(strong.network).__name__}) writes into its images, which all "
            "candidates are given; let its first operation give a new tensor"
        )
    if not plan.segments:
        raise PlanError("the network has no convolution whose kernels could be removed")
    try:
        for kept, output in zip(
            masks_removing_each(plan), cycle((0, plan.outputs - 1)), strict=False
        ):
            _class_module(strong, plan, kept, output, images)
    except DecodeError as error:
        raise PlanError(f"the network can't be sliced: {error}") from error
