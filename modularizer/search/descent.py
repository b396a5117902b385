"""The gradient search as a step of a decomposition: epochs, checkpoints, a polish at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modularizer.analysis.grouping import group_channels
from modularizer.analysis.multiply_adds import multiply_adds_model
from modularizer.checkpoint import Saved
from modularizer.progress import Progress
from modularizer.search.budget import Budget, kernel_budget, multiply_add_budget
from modularizer.search.diversity import diff
from modularizer.search.evolution import Evolution
from modularizer.search.genetic import SwapWithinSegments
from modularizer.search.gradient import GradientSearch, GradientState
from modularizer.search.images import Prepare
from modularizer.search.task import Masks, SearchTask, fitness_of, generator_for

_TENSORS = ("logits", "mean", "square", "generator")
_NUMBERS = ("epoch", "step", "passes")


def gradient_search(
    task: SearchTask, images: Tensor, labels: Tensor, prepare: Prepare, input_shape: tuple[int, ...]
) -> Masks:
    """Search for masks by gradients, and polish them if that was asked for.

    Validation images are run once, by what was found; the epochs learn from training images.

    Args:
        task: what to search for.
        images: training images, uint8 (N, H, W, C), on the CPU.
        labels: int64 (N,), on the CPU.
        prepare: what the network wants done to images.
        input_shape: (channels, height, width) of the network's input.
    """
    settings = task.settings
    search = GradientSearch(
        task.scorer.network,
        task.plan,
        images,
        labels,
        prepare,
        _budget(task, input_shape),
        alignment=settings.alignment,
        gates=settings.gates,
        epochs=settings.gradient_epochs,
        images_per_class=settings.gradient_images,
        batch_size=settings.gradient_batch,
        learning_rate=settings.gradient_rate,
        ranking=settings.gradient_ranking,
        diversity=settings.gradient_diversity,
        precision=settings.precision,
    )
    saved = task.checkpoint.load("gradient")
    history: list[dict[str, float]]
    if saved is None:
        generator = generator_for(settings.seed, "gradient search")
        state, history = search.start(task.importance, generator), []
    else:
        state, history = _restored(saved, search), [dict(row) for row in saved.facts["history"]]
    while state.epoch < settings.gradient_epochs:
        before = state.passes
        state = search.advance(state)
        kept = search.finish(state)
        history.append(
            {
                "loss": state.loss,
                "training_accuracy": state.accuracy,
                **_shape_of(kept, task),
                "passes": float(state.passes - before),
            }
        )
        _save(task, state, history)
        task.progress(
            Progress("gradient search", state.epoch, settings.gradient_epochs, history[-1])
        )
    found = _judged(task, search.finish(state), state, history)
    if not settings.polish_generations:
        return found
    budget, device = search.budget, next(task.scorer.network.parameters()).device
    return _polished(task, found, lambda masks: budget.cost(masks.to(device)) <= budget.most)


def _judged(
    task: SearchTask, kept: Tensor, state: GradientState, history: list[dict[str, float]]
) -> Masks:
    """What the gradients found, on validation images: the one time that they are looked at."""
    accuracy = task.scorer.composed_accuracy(kept)
    run = len(kept) * task.scorer.images.total
    last = history[-1]
    worth = fitness_of(task.settings)(
        torch.tensor(accuracy, dtype=torch.float64), torch.tensor(last["diff"]).double()
    )
    judged = {**last, "fitness": float(worth), "accuracy": accuracy, "passes": last["passes"] + run}
    return Masks(kept, accuracy, last["diff"], (*history[:-1], judged), state.passes + run)


def _polished(task: SearchTask, found: Masks, permitted: Callable[[Tensor], Tensor]) -> Masks:
    """The genetic search around masks; every segment goes on keeping as many channels.

    So alignment holds as it did; where channels of a segment differ in cost, candidates that
    are not permitted are left out.
    """
    settings = task.settings
    generator = generator_for(settings.seed, "polish")
    grouping = group_channels(task.importance, task.plan, order="none")
    vary = SwapWithinSegments(grouping.segments, settings.polish_swaps)
    bits = grouping.bits(found.kept[:, None])
    first = vary.children(bits, settings.candidates, generator)
    first[:, 0] = bits[:, 0]
    evolution = Evolution(
        task, grouping, first, generator, vary, stage="polish", permitted=permitted
    )
    polished = evolution.run(settings.polish_generations, settings.patience)
    return Masks(
        polished.kept,
        polished.accuracy,
        polished.diff,
        (*found.history, *polished.history),
        found.passes + polished.passes,
    )


def _budget(task: SearchTask, input_shape: tuple[int, ...]) -> Budget:
    settings, network = task.settings, task.scorer.network
    device = next(network.parameters()).device
    if settings.multiply_adds_budget is None:
        return kernel_budget(task.plan, settings.kernels_budget, device)
    model = multiply_adds_model(network, task.plan, input_shape)
    return multiply_add_budget(model, settings.multiply_adds_budget, device)


def _shape_of(kept: Tensor, task: SearchTask) -> dict[str, float]:
    return {
        "diff": diff(kept, task.plan.kernels_per_channel),
        "kernels_kept": float(task.plan.kernels_kept(kept).double().mean()),
    }


def _save(task: SearchTask, state: GradientState, history: list[dict[str, float]]) -> None:
    tensors = {name: getattr(state, name) for name in _TENSORS}
    facts: dict[str, Any] = {name: getattr(state, name) for name in _NUMBERS}
    task.checkpoint.save("gradient", tensors, {**facts, "history": history})


def _restored(saved: Saved, search: GradientSearch) -> GradientState:
    device = next(search.network.parameters()).device
    logits, mean, square = (saved.tensors[name].to(device) for name in _TENSORS[:3])
    epoch, step, passes = (saved.facts[name] for name in _NUMBERS)
    return GradientState(
        logits, mean, square, saved.tensors["generator"], epoch=epoch, step=step, passes=passes
    )
