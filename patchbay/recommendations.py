"""From a weak model and a registry to recommended patches, with what they gain and cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from modularizer.assembly.patched import Patch, PatchedClassifier
from modularizer.class_names import OtherNames
from modularizer.classifier import Classifier, predict
from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.images import ImageSet
from modularizer.errors import DataError, ModularizerError
from modularizer.latency import Latency, measure_latency
from modularizer.progress import ProgressCallback, ignore_progress
from modularizer.recommending import (
    Measured,
    Ranking,
    Recommendation,
    Task,
    full_judgement,
    rank,
)
from modularizer.rules import RuleName
from modularizer.strong_instead import StrongInstead, judge_strong
from patchbay.candidates import (
    Scored,
    class_module_under_own_name,
    fitting_modules,
    leaks,
    scored_modules,
    strong_versions,
)
from registry.errors import RegistryError
from registry.registry import Registry
from registry.version import Version

_REPEATS = 30


@dataclass(frozen=True)
class Asked:
    """What to look for.

    Attributes:
        rules: to choose from.
        classes: of the weak model, to keep to; none for all.
        max_others_loss: of the accuracy on the classes that are not patched, in [0, 1].
        all_versions: whether class modules that have a newer version and no alias count, too.
        shortlist: modules of each class that combinations are made of.
        top: how many recommendations are judged in full and timed.
    """

    rules: Sequence[RuleName]
    classes: tuple[str, ...]
    max_others_loss: float
    all_versions: bool
    shortlist: int
    top: int


@dataclass(frozen=True)
class Offer:
    """A recommendation with what it costs.

    Attributes:
        recommendation: what it gains.
        scored: its modules, in the order of the weak model's classes.
        latency: of the patched model for one image.
        command: what registers it.
    """

    recommendation: Recommendation
    scored: tuple[Scored, ...]
    latency: Latency
    command: str

    @property
    def cost(self) -> dict[str, int]:
        """Kernels, parameters, multiply-adds and bytes of weights of its modules together."""
        return {name: sum(one.cost[name] for one in self.scored) for name in self.scored[0].cost}


@dataclass(frozen=True)
class Instead:
    """A strong model that has all the weak model's classes, and how it does in its place."""

    version: Version
    found: StrongInstead


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        weak: the weak model's version.
        asked: what for.
        data_source: of the images.
        task: the weak model on the validation images.
        fingerprint: of these images.
        weak_latency: of the weak model alone.
        listed: class modules in the registry.
        fitting: those that fit, and were loaded.
        scored: those that could be, and were run over the images.
        unusable: of the others, from the address to the reason.
        ranking: of single patches and combinations.
        offers: the best of them.
        strong: strong models that have all the weak model's classes, the best first.
        warnings: what makes the figures doubtful.
    """

    weak: Version
    asked: Asked
    data_source: str
    task: Task
    fingerprint: str
    weak_latency: Latency
    listed: int
    fitting: int
    scored: tuple[Scored, ...]
    unusable: Mapping[str, str]
    ranking: Ranking
    offers: tuple[Offer, ...]
    strong: tuple[Instead, ...]
    warnings: tuple[str, ...]

    @property
    def instead(self) -> Instead | None:
        """The best strong model that is better on each class."""
        return next((one for one in self.strong if one.found.is_better_on_each), None)

    @property
    def looked_for(self) -> tuple[str, ...]:
        """The weak model's classes that were to be patched."""
        return self.asked.classes or self.weak.class_names


def find_patches(
    registry: Registry,
    weak_version: Version,
    data: DataSplits,
    names: OtherNames,
    asked: Asked,
    *,
    load: Callable[[Sequence[str]], DataSplits],
    command_of: Callable[[Measured], str],
    progress: ProgressCallback = ignore_progress,
) -> Report:
    """Run every class module that fits over the validation images once, and rank patches.

    Args:
        registry: of the models.
        weak_version: a strong or weak model.
        data: splits with its classes; held-out images are not looked at.
        names: its classes, and what others call them.
        asked: what to look for.
        load: the same data with other classes.
        command_of: the command that registers some patches.
        progress: told of each class module.

    Raises:
        DataError: if the weak model lacks a class that was asked for, or there is no image.
        RegistryError: if the weak model can't be loaded.
    """
    unknown = [name for name in asked.classes if name not in weak_version.class_names]
    if unknown:
        raise DataError(
            f"{weak_version.uri} has no class {unknown[0]!r}; it has "
            f"{', '.join(weak_version.class_names)}"
        )
    images = data.validation
    versions = registry.versions("class_module")
    fitting = fitting_modules(
        versions, names, classes=asked.classes, all_versions=asked.all_versions
    )
    weak = registry.load_classifier(weak_version.uri)
    scored, unusable = scored_modules(registry, fitting, images, progress)
    task = Task(
        torch.from_numpy(predict(weak, images.images)),
        images.labels,
        weak.class_names,
        asked.rules,
        asked.max_others_loss,
    )
    ranking = rank(task, [one.candidate for one in scored], shortlist=asked.shortlist)
    shown = [full_judgement(task, one) for one in ranking.best_first[: asked.top]]
    by_address = {one.candidate.address: one for one in scored}
    members = [tuple(by_address[one.address] for one in each.measured.members) for each in shown]
    weak_latency, *latencies = _latencies(registry, weak, shown, members, images)
    strong = [one for one in strong_versions(registry, scored) if one.uri != weak_version.uri]
    return Report(
        weak=weak_version,
        asked=asked,
        data_source=data.source,
        task=task,
        fingerprint=images.fingerprint,
        weak_latency=weak_latency,
        listed=len(versions),
        fitting=len(fitting),
        scored=tuple(scored),
        unusable=unusable,
        ranking=ranking,
        offers=tuple(
            Offer(one, parts, latency, command_of(one.measured))
            for one, parts, latency in zip(shown, members, latencies, strict=True)
        ),
        strong=tuple(_in_its_place(registry, strong, names, task, images)),
        warnings=tuple(leaks(registry, strong, data, load).values()),
    )


def _latencies(
    registry: Registry,
    weak: Classifier,
    shown: Sequence[Recommendation],
    members: Sequence[tuple[Scored, ...]],
    images: ImageSet,
) -> list[Latency]:
    """Of the weak model alone, then of each patched one."""
    modules = {
        one.candidate.address: class_module_under_own_name(registry, one.fitting)
        for each in members
        for one in each
    }
    patched = [
        PatchedClassifier(
            weak,
            [
                Patch(modules[part.candidate.address], calibration)
                for part, calibration in zip(parts, one.judged.rule.calibrations, strict=True)
            ],
            one.judged.rule.fusion,
        )
        for one, parts in zip(shown, members, strict=True)
    ]
    return measure_latency([weak, *patched], images.images, repeats=_REPEATS)


def _in_its_place(
    registry: Registry,
    strong: Sequence[Version],
    names: OtherNames,
    task: Task,
    images: ImageSet,
) -> list[Instead]:
    """How each strong model that has all the weak model's classes does, the best first."""
    found = []
    for version in strong:
        places = names.places_in(version.class_names)
        if places is None:
            continue
        try:
            scores = predict(registry.load_classifier(version.uri), images.images)
        except (RegistryError, ModularizerError):  # its modules are listed all the same
            continue
        judged = judge_strong(task.labels, task.weak_predicted, scores, places, task.class_names)
        found.append(Instead(version, judged))
    return sorted(found, key=lambda one: (-one.found.macro_f1, one.version.uri))
