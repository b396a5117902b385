"""The steps joined: train, decompose, patch; each hands its records to a sink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.class_module import ClassModule, both_ways
from modularizer.assembly.patched import Patch, PatchedClassifier, predict_both
from modularizer.classifier import Classifier
from modularizer.cost import count_cost
from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.images import ImageSet
from modularizer.decomposition import Parts, Resources, decompose
from modularizer.epochs import Stop
from modularizer.metrics import METRICS, PatchEvaluation, evaluate_patch
from modularizer.patching import Choice, choice_evidence, choose_rule
from modularizer.preprocessing import Preprocessing
from modularizer.progress import ProgressCallback, ignore_progress
from modularizer.records import (
    AppliedPatch,
    DecomposedClass,
    Decomposition,
    ModelSink,
    PatchedManifest,
    Provenance,
    TrainedClassifier,
)
from modularizer.rules import PAPER, RuleName, StoredCalibrations, fit_strong_side
from modularizer.search_report import report_search
from modularizer.settings import DecompositionSettings, TrainingSettings
from modularizer.training import TrainingResult, train_classifier


@dataclass(frozen=True)
class RegisteredClassifier:
    """A trained classifier and its address."""

    uri: str
    result: TrainingResult
    record: TrainedClassifier


@dataclass(frozen=True)
class RegisteredModule:
    """A class module, its address, and what was fitted on the strong model's images."""

    uri: str
    class_module: ClassModule
    calibrations: StoredCalibrations


@dataclass(frozen=True)
class RegisteredDecomposition:
    """A strong classifier taken apart, and where its modules are."""

    modules: tuple[RegisteredModule, ...]
    parts: Parts
    record: Decomposition

    def of_class(self, class_name: str) -> RegisteredModule:
        """The class module of one class.

        Raises:
            KeyError: if there is none.
        """
        return {one.class_module.class_name: one for one in self.modules}[class_name]


@dataclass(frozen=True)
class RegisteredPatch:
    """A patched classifier, its address, and how its rule was chosen.

    Attributes:
        uri: where it is.
        patched: what is registered.
        choice: its rule, and what it was chosen from.
    """

    uri: str
    patched: PatchedClassifier
    choice: Choice

    @property
    def validation(self) -> tuple[PatchEvaluation, ...]:
        """What validation images say of it, once for each patched class."""
        return self.choice.chosen.evaluations


def run_training(
    data: DataSplits,
    *,
    name: str,
    kind: Literal["strong", "weak"],
    architecture: ArchitectureSpec,
    settings: TrainingSettings,
    sink: ModelSink,
    preprocessing: Preprocessing | None = None,
    stop: Stop = "best",
    device: str = "cpu",
    progress: ProgressCallback = ignore_progress,
) -> RegisteredClassifier:
    """Train a classifier and hand it to the sink.

    Args:
        data: splits with the classes that it is to know.
        name: the name to register it under.
        kind: strong or weak.
        architecture: what to build.
        settings: how to train.
        sink: where it goes.
        preprocessing: the network's; None fits it to the training images.
        stop: which epoch to take.
        device: where to train; the classifier is on the CPU afterwards.
        progress: told after each epoch.
    """
    result = train_classifier(
        data,
        architecture,
        settings,
        preprocessing=preprocessing,
        stop=stop,
        device=device,
        progress=progress,
    )
    result.classifier.cpu()
    record = TrainedClassifier(
        name=name,
        kind=kind,
        classifier=result.classifier,
        metrics={
            "validation_accuracy": result.validation_accuracy,
            "epoch": result.epoch,
            "best_epoch": result.best_epoch,
        },
        history=result.history,
        cost=count_cost(result.classifier.network, result.classifier.preprocessing),
        provenance=_provenance(data, settings, {"stop": stop}),
    )
    return RegisteredClassifier(sink.add_classifier(record), result, record)


def run_decomposition(
    strong: Classifier,
    data: DataSplits,
    *,
    name: str,
    strong_uri: str,
    settings: DecompositionSettings,
    sink: ModelSink,
    resources: Resources | None = None,
    progress: ProgressCallback = ignore_progress,
) -> RegisteredDecomposition:
    """Take a strong classifier apart, calibrate its modules and hand them to the sink.

    Args:
        strong: the strong classifier, on the device where candidates are to run.
        data: splits with its classes; calibrations are fitted on training images of each class, the
            logistic one on validation images.
        name: the strong model's registered name.
        strong_uri: its address, for the lineage.
        settings: how to search.
        sink: where the modules go.
        resources: what the search may use; its checkpoint is removed once the modules are in
            the sink.
        progress: told after each segment and generation.
    """
    parts = decompose(strong, data, settings, resources=resources, progress=progress)
    whole = count_cost(strong.network, strong.preprocessing)
    classes = []
    for one in parts.class_modules:
        cost = count_cost(one.network, one.preprocessing)
        classes.append(
            DecomposedClass(
                class_module=one,
                calibrations=fit_strong_side(one, data, batch_size=settings.batch_size),
                metrics={
                    "composed_accuracy": parts.masks.accuracy,
                    "diff": parts.masks.diff,
                    "kernels_kept": cost.kernels,
                    "kernels_kept_share": cost.kernels / whole.kernels,
                    "multiply_adds_share": cost.multiply_adds / whole.multiply_adds,
                },
                cost=cost,
            )
        )
    record = Decomposition(
        name=name,
        classes=classes,
        metrics={
            "strong_accuracy": parts.strong_accuracy,
            "composed_accuracy": parts.masks.accuracy,
            "random_accuracy": float(np.mean(parts.random_accuracy)),
            "diff": parts.masks.diff,
            "passes": parts.passes["search"],
            **_passes_of_the_plain_way(parts),
            "sensitivity_passes": parts.passes["sensitivity"],
        },
        history=parts.masks.history,
        provenance=_provenance(data, settings, {}),
        sensitivity=_sensitivity_curves(parts),
        report=report_search(
            parts.plan,
            parts.masks.kept,
            class_names=strong.class_names,
            history=parts.masks.history,
            strong_accuracy=parts.strong_accuracy,
            random_accuracy=parts.random_accuracy,
        ),
    )
    uris = sink.add_decomposition(record, strong_uri=strong_uri)
    if resources is not None and resources.checkpoint is not None:
        resources.checkpoint.unlink(missing_ok=True)
    modules = tuple(
        RegisteredModule(uri, one.class_module, one.calibrations)
        for uri, one in zip(uris, classes, strict=True)
    )
    return RegisteredDecomposition(modules, parts, record)


def run_patch(
    weak: Classifier,
    modules: Sequence[RegisteredModule],
    data: DataSplits | None,
    *,
    name: str,
    weak_uri: str,
    sink: ModelSink,
    rules: Sequence[RuleName] = (PAPER,),
    must_gain: bool = False,
    mirrored: bool = False,
    pictures: Sequence[Path] = (),
) -> RegisteredPatch:
    """Plug class modules into a weak classifier, choose a rule on validation images, register.

    Args:
        weak: the weak classifier.
        modules: the class modules with their calibrations, one for each class to fix.
        data: splits with the weak model's classes; only validation images are looked at. None
            for a single rule that needs none.
        name: the name to register the patched model under.
        weak_uri: the weak model's address, for the manifest.
        sink: where the manifest goes.
        rules: ways of calibrating and joining scores to choose from; a single one is taken as it
            is.
        must_gain: register nothing if no rule gains, or none without a loss over all classes.
        mirrored: whether class modules see each image's mirror image, too, and give the mean of
            both scores: twice their cost, and wrong where left and right make a difference.
        pictures: files to keep with it.

    Raises:
        PatchError: if a module's class is unknown to the weak model, or is patched twice.
        CalibrationError: if no rule can be fitted.
        DataError: if a patched class has no validation image, or there is no other.
        NoGainError: if none gains and one must.
    """
    class_modules = [
        both_ways(one.class_module) if mirrored else one.class_module for one in modules
    ]
    choice = choose_rule(
        weak,
        class_modules,
        [one.calibrations for one in modules],
        None if data is None else data.validation,
        rules,
        must_gain=must_gain,
    )
    chosen = choice.chosen
    patches = [
        Patch(one, calibration)
        for one, calibration in zip(class_modules, chosen.rule.calibrations, strict=True)
    ]
    patched = PatchedClassifier(weak, patches, chosen.rule.fusion).eval()
    manifest = PatchedManifest(
        name=name,
        weak_uri=weak_uri,
        patches=[
            AppliedPatch(one.uri, one.class_module.class_name, calibration)
            for one, calibration in zip(modules, chosen.rule.calibrations, strict=True)
        ],
        fusion=chosen.rule.fusion,
        mirrored=mirrored,
        metrics=evaluation_metrics(chosen.evaluations, prefix="validation"),
        evidence=choice_evidence(choice),
        provenance=_provenance(data, None, {"rule": str(chosen.name), "mirrored": mirrored}),
        pictures=pictures,
    )
    return RegisteredPatch(sink.add_patched(manifest), patched, choice)


def evaluate_patched(patched: PatchedClassifier, images: ImageSet) -> tuple[PatchEvaluation, ...]:
    """Weak beside patched on the same images, once for each patched class.

    Args:
        patched: the patched classifier.
        images: images with the weak model's classes, in its order.

    Raises:
        DataError: if a patched class has no image, or there is no other.
    """
    both = predict_both(patched, images.images)
    weak_predicted = both.weak_scores.argmax(dim=1).numpy()
    predicted = both.scores.argmax(dim=1).numpy()
    return tuple(
        evaluate_patch(
            images.labels,
            weak_predicted,
            predicted,
            class_names=images.class_names,
            target=patch.class_name,
        )
        for patch in patched.patches
    )


def evaluation_metrics(evaluations: Sequence[PatchEvaluation], *, prefix: str) -> dict[str, float]:
    """Evaluations as flat metrics, each the mean over the patched classes.

    Args:
        evaluations: one a patched class.
        prefix: the split's name.

    Returns:
        ``{prefix}_weak_f1``, ``{prefix}_patched_f1``, ``{prefix}_f1_gain`` and so on.
    """
    metrics = {}
    for name in METRICS if evaluations else ():
        weak = float(np.mean([getattr(one.weak, name) for one in evaluations]))
        patched = float(np.mean([getattr(one.patched, name) for one in evaluations]))
        metrics[f"{prefix}_weak_{name}"] = weak
        metrics[f"{prefix}_patched_{name}"] = patched
        metrics[f"{prefix}_{name}_gain"] = patched - weak
    return metrics


def _passes_of_the_plain_way(parts: Parts) -> dict[str, float]:
    plain = parts.passes.get("plain")
    if plain is None:
        return {}
    return {"plain_passes": plain, "passes_share": parts.passes["search"] / plain}


def _sensitivity_curves(parts: Parts) -> list[dict[str, float]]:
    names = ["+".join(segment.layers) for segment in parts.plan.segments]
    found = parts.sensitivity
    if found is None:
        return []
    steps = [[found.unharmed] * len(names), *found.accuracy.T.tolist()]
    return [dict(zip(names, step, strict=True)) for step in steps]


def _provenance(
    data: DataSplits | None,
    settings: TrainingSettings | DecompositionSettings | None,
    more: Mapping[str, Any],
) -> Provenance:
    return Provenance(
        settings={
            **(settings.model_dump(mode="json") if settings else {}),
            **({"data_seed": data.seed} if data else {}),
            **more,
        },
        seed=settings.seed if settings else 0,
        data_source=data.source if data else "",
        data_fingerprint=data.fingerprint if data else "",
    )
