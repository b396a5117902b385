"""Taking a strong network apart: importance, groups, sensitivity, search (section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from modularizer.analysis.grouping import Grouping, group_channels
from modularizer.analysis.importance import importance
from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.sensitivity import Sensitivity, measure_sensitivity
from modularizer.analysis.tracing import slicing_plan
from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.decode import decode
from modularizer.assembly.masking import verify_decoded
from modularizer.classifier import Classifier
from modularizer.datasets.images import DataSplits, ImageSet
from modularizer.errors import DataError, DecodeError, ModularizerError, PlanError
from modularizer.preprocessing import as_tensor
from modularizer.progress import Progress, ProgressCallback, ignore_progress
from modularizer.search.bracket import run_bracket
from modularizer.search.diversity import diff, jaccard_distances
from modularizer.search.genetic import SearchState, ask, tell
from modularizer.search.population import first_population, random_masks_like
from modularizer.search.scoring import CandidateScorer
from modularizer.settings import DecompositionSettings


@dataclass(frozen=True, eq=False)
class Masks:
    """What a search found.

    Attributes:
        kept: bool (classes, channels).
        accuracy: of the composed model on the validation images, in [0, 1].
        diff: mean Jaccard distance between the modules, in [0, 1].
        history: for each generation ``fitness``, ``accuracy``, ``diff`` and ``kernels_kept`` (the
            mean over classes) of the best combination so far.
        passes: images x candidates that were run, sensitivity included.
    """

    kept: Tensor
    accuracy: float
    diff: float
    history: tuple[Mapping[str, float], ...]
    passes: int


@dataclass(frozen=True, eq=False)
class Parts:
    """A strong classifier taken apart.

    Attributes:
        class_modules: one for each class, in output order; each verified against the masked
            strong network.
        plan: the strong network's slicing plan.
        sensitivity: what each segment's loss costs.
        masks: what the search found.
        strong_accuracy: on the validation images, in [0, 1].
        random_masks: bool (draws, classes, channels): masks that keep as many channels of each
            segment, chosen at random.
        random_accuracy: composed accuracy of each draw on the validation images.
    """

    class_modules: tuple[ClassModule, ...]
    plan: SlicingPlan
    sensitivity: Sensitivity
    masks: Masks
    strong_accuracy: float
    random_masks: Tensor
    random_accuracy: tuple[float, ...]


def decompose(
    strong: Classifier,
    data: DataSplits,
    settings: DecompositionSettings,
    *,
    progress: ProgressCallback = ignore_progress,
) -> Parts:
    """Take a strong classifier apart into one class module for each class.

    Importance is read on training images, every choice is made on validation images; test
    images are not looked at.

    Args:
        strong: a trained classifier; left as it is.
        data: splits with exactly its classes.
        settings: how.
        progress: told after each segment (``sensitivity``) and generation (``search``).

    Raises:
        DataError: if the classes differ, or one has no training or validation image.
        PlanError: if the network can't be sliced; nothing has been done then.
        DecodeError: if a decoded module differs from the masked network.
        ModularizerError: if feature maps or scores are not finite.
    """
    _require_fitting(strong, data)
    plan = slicing_plan(strong.network, (strong.preprocessing.channels, *strong.preprocessing.size))
    if plan.outputs != len(strong.class_names):
        raise PlanError(
            f"the network gives {plan.outputs} scores, the model names "
            f"{len(strong.class_names)} classes; each class needs one score"
        )
    device = next(strong.parameters()).device
    validation = strong.preprocessing.prepare(as_tensor(data.validation.images, device))
    labels = torch.from_numpy(data.validation.labels)
    generator = torch.Generator().manual_seed(settings.seed)
    _require_sliceable(strong, plan, validation[:2])

    by_class = [
        strong.preprocessing.prepare(as_tensor(data.train.of_class(name), device))
        for name in strong.class_names
    ]
    weight = importance(strong.network, plan, by_class, batch_size=settings.batch_size)
    if not torch.isfinite(weight).all():
        raise ModularizerError(
            "feature maps of the training images hold NaN or infinity; the strong model's "
            "activations overflow, or its weights are broken"
        )
    grouping = group_channels(
        weight,
        plan,
        few=settings.few_groups,
        many=settings.many_groups,
        wide=settings.wide_segment,
    )
    scorer = CandidateScorer(strong.network, plan, validation, batch_size=settings.batch_size)
    sensitivity = measure_sensitivity(
        plan,
        weight,
        lambda masks: scorer.composed_accuracy(masks, labels),
        tolerated_loss=settings.tolerated_loss,
        progress=progress,
    )
    masks = _search(scorer, grouping, sensitivity, labels, settings, generator, progress)
    segments = [segment.channels for segment in plan.segments]
    random_masks = torch.stack(
        [random_masks_like(masks.kept, segments, generator) for _ in range(settings.random_draws)]
    )
    return Parts(
        class_modules=tuple(
            _class_module(strong, plan, kept, output, validation[:32])
            for output, kept in enumerate(masks.kept)
        ),
        plan=plan,
        sensitivity=sensitivity,
        masks=masks,
        strong_accuracy=sensitivity.unharmed,
        random_masks=random_masks,
        random_accuracy=tuple(scorer.composed_accuracy(draw, labels) for draw in random_masks),
    )


def _search(
    scorer: CandidateScorer,
    grouping: Grouping,
    sensitivity: Sensitivity,
    labels: Tensor,
    settings: DecompositionSettings,
    generator: torch.Generator,
    progress: ProgressCallback,
) -> Masks:
    classes = len(grouping.group_of_channel)
    kernels = scorer.plan.kernels_per_channel
    state = SearchState(
        first_population(
            grouping,
            sensitivity.sensitive,
            classes=classes,
            candidates=settings.candidates,
            generator=generator,
        )
    )
    history: list[dict[str, float]] = []
    best: tuple[Tensor, float] | None = None
    while state.generation < settings.generations and state.stale < settings.patience:
        bits = grouping.keeping_a_group(
            ask(
                state,
                parents=settings.parents,
                mutation_rate=settings.mutation_rate,
                generator=generator,
            )
        )
        masks = grouping.masks(bits)
        result = run_bracket(
            scorer.columns(masks),
            labels,
            jaccard_distances(masks.flatten(0, 1), kernels),
            alpha=settings.alpha,
            top=settings.top,
            generator=generator,
            keep=None if best is None else torch.zeros(classes, dtype=torch.int64),
        )
        state = tell(state, bits, result)
        if best is None or state.stale == 0:
            best = (masks[torch.arange(classes), result.combination], result.accuracy)
        history.append(
            {
                "fitness": state.best_fitness,
                "accuracy": best[1],
                "diff": diff(best[0], kernels),
                "kernels_kept": float(scorer.plan.kernels_kept(best[0]).double().mean()),
            }
        )
        progress(Progress("search", state.generation, settings.generations, history[-1]))
    assert best is not None  # settings ask for at least one generation
    return Masks(best[0], best[1], history[-1]["diff"], tuple(history), scorer.passes)


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


def _require_sliceable(strong: Classifier, plan: SlicingPlan, images: Tensor) -> None:
    """Decode one mask and compare, before any work: a plan that is wrong is found here."""
    if not plan.segments:
        raise PlanError("the network has no convolution whose kernels could be removed")
    for segment in plan.segments:
        for layer in segment.layers:
            carried = plan.entries[f"{layer}.weight"][0]
            if int((carried < plan.channels).sum()) < len(segment):
                raise PlanError(
                    f"{' + '.join(segment.layers)} are coupled, but {layer} has only some of "
                    "their channels (a concatenation meets an addition); a search could empty it"
                )
    kept = torch.arange(plan.channels) % 2 == 0
    for segment in plan.segments:
        kept[segment.start] = True
    try:
        _class_module(strong, plan, kept, 0, images)
    except DecodeError as error:
        raise PlanError(f"the network can't be sliced: {error}") from error
