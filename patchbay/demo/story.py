"""The demo's steps, from images to patched answers over HTTP; it prints nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchbay.demo import recipe
from patchbay.session import cores

if TYPE_CHECKING:
    from modularizer.datasets.data_splits import DataSplits
    from modularizer.metrics import PatchEvaluation
    from modularizer.pipeline import RegisteredClassifier, RegisteredDecomposition, RegisteredPatch
    from modularizer.progress import ProgressCallback
    from patchbay.gating import Judgement
    from registry.registry import Registry

Bars = Callable[[str], "ProgressCallback"]


@dataclass(frozen=True)
class Accuracies:
    """Strong, composed and random-mask accuracy on one set of images, each in [0, 1]."""

    strong: float
    composed: float
    random: float


@dataclass(frozen=True)
class Target:
    """One weak model and its patch.

    Attributes:
        name: the target class.
        weak: the weak model.
        patch: the patched model, with its evaluation on validation images.
        held_out: its evaluation on held-out images; nothing is chosen by it.
    """

    name: str
    weak: RegisteredClassifier
    patch: RegisteredPatch
    held_out: PatchEvaluation

    @property
    def validation(self) -> PatchEvaluation:
        """Its evaluation on validation images."""
        (only,) = self.patch.validation
        return only

    @property
    def rule(self) -> str:
        """How it is patched; chosen on validation images."""
        return str(self.patch.choice.chosen.name)

    @property
    def validation_gain(self) -> float:
        """What the patch adds to the target class's F1 on validation images."""
        return self.validation.patched.f1 - self.validation.weak.f1


@dataclass(frozen=True)
class Story:
    """Everything that the demo made.

    Attributes:
        strong: the strong model.
        decomposition: its class modules.
        validation: how it compares with them on the images that the search chose by.
        held_out: the same on images that nothing was chosen by.
        targets: one entry a target class.
        served: the target with the largest gain on validation images; ``@champion`` is on it.
        gate: what the gate says of it, by the evidence stored with it.
        data: all ten classes, split.
    """

    strong: RegisteredClassifier
    decomposition: RegisteredDecomposition
    validation: Accuracies
    held_out: Accuracies
    targets: tuple[Target, ...]
    served: Target
    gate: Judgement
    data: DataSplits

    @property
    def served_uri(self) -> str:
        """The alias that the service is started from."""
        return f"models:/{recipe.patched_name(self.served.name)}@{recipe.ALIAS}"


def tell_story(registry: Registry, bars: Bars) -> Story:
    """Train, decompose, patch, and move the alias of the best patch to it.

    Args:
        registry: where everything is registered.
        bars: a progress bar for each label.
    """
    from modularizer.datasets.recipes import load_data
    from modularizer.datasets.weak_sets import DIGITS_STRONG, digits_weak_classes
    from modularizer.decomposition import Resources
    from modularizer.pipeline import run_decomposition, run_training

    data = load_data("digits", seed=recipe.SEED)
    strong_data = data.only(DIGITS_STRONG)
    strong = run_training(
        strong_data,
        name=recipe.STRONG_NAME,
        kind="strong",
        architecture=recipe.ARCHITECTURE,
        settings=recipe.TRAINING,
        sink=registry,
        progress=bars("strong model on 0-4"),
    )
    decomposition = run_decomposition(
        strong.result.classifier,
        strong_data,
        name=recipe.STRONG_NAME,
        strong_uri=strong.uri,
        settings=recipe.DECOMPOSITION,
        sink=registry,
        resources=Resources(workers=cores()),
        progress=bars("class modules"),
    )
    targets = tuple(
        _patch_one(target, data.only(digits_weak_classes(target)), decomposition, registry, bars)
        for target in DIGITS_STRONG
    )
    served = max(targets, key=lambda target: target.validation_gain)
    gate = _promote(registry, served.patch.uri)
    metrics = decomposition.record.metrics
    return Story(
        strong=strong,
        decomposition=decomposition,
        validation=Accuracies(
            metrics["strong_accuracy"], metrics["composed_accuracy"], metrics["random_accuracy"]
        ),
        held_out=_held_out(strong, decomposition, strong_data),
        targets=targets,
        served=served,
        gate=gate,
        data=data,
    )


def _promote(registry: Registry, uri: str) -> Judgement:
    """Move the alias, as ``patchbay promote`` does; the demo serves its best patch in any case."""
    from modularizer.settings import GateSettings
    from patchbay.gating import judge_by_evidence

    version = registry.find(uri)
    current = registry.aliases.standing(version.name, recipe.ALIAS)
    judged = judge_by_evidence(registry, version, current, GateSettings())
    registry.aliases.promote(
        uri,
        recipe.ALIAS,
        expected=current,
        reason="the demo's largest gain on validation images",
        forced=not judged.passed,
        verdict=judged.as_json(),
    )
    return judged


def _patch_one(
    target: str,
    data: DataSplits,
    decomposition: RegisteredDecomposition,
    registry: Registry,
    bars: Bars,
) -> Target:
    from modularizer.pipeline import evaluate_patched, run_patch, run_training

    weak = run_training(
        data,
        name=recipe.weak_name(target),
        kind="weak",
        architecture=recipe.ARCHITECTURE,
        settings=recipe.TRAINING,
        sink=registry,
        stop="underfitting",
        progress=bars(f"weak model on 6-9 and {target}"),
    )
    patch = run_patch(
        weak.result.classifier,
        [decomposition.of_class(target)],
        data,
        name=recipe.patched_name(target),
        weak_uri=weak.uri,
        sink=registry,
        rules=recipe.RULES,
    )
    (held_out,) = evaluate_patched(patch.patched, data.test.open("the demo's table"))
    return Target(target, weak, patch, held_out)


def _held_out(
    strong: RegisteredClassifier, decomposition: RegisteredDecomposition, data: DataSplits
) -> Accuracies:
    import torch

    from modularizer.search.images import ClassImages
    from modularizer.search.scoring import CandidateScorer

    classifier, parts = strong.result.classifier, decomposition.parts
    images = ClassImages(
        data.test.open("the demo's composed accuracy"),
        prepare=classifier.prepare,
        device=torch.device("cpu"),
        micro_batch=500,
    )
    with CandidateScorer(classifier.network, parts.plan, images) as scorer:
        random = [scorer.composed_accuracy(draw) for draw in parts.random_masks]
        return Accuracies(
            strong=scorer.composed_accuracy(torch.ones_like(parts.masks.kept)),
            composed=scorer.composed_accuracy(parts.masks.kept),
            random=sum(random) / len(random),
        )


def write_sample(story: Story, folder: Path) -> Path:
    """A held-out image as a PNG: one that the patch puts right, of the target class if there is.

    It is for trying the service by hand, and chosen for that alone.
    """
    import numpy as np

    from modularizer.assembly.patched import predict_both
    from serving.client import png_bytes

    patched = story.served.patch.patched
    images = story.data.only(patched.class_names).test.open("the demo's sample image")
    both = predict_both(patched, images.images)
    right = both.scores.argmax(dim=1).numpy() == images.labels
    weak_right = both.weak_scores.argmax(dim=1).numpy() == images.labels
    is_target = images.labels == images.class_index(story.served.name)
    best = int(np.argmax(2 * (right & ~weak_right) + (right & is_target)))
    path = folder / "sample.png"
    path.write_bytes(png_bytes(images.images[best]))
    return path
