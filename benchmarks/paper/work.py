"""What each kind of step does. Held-out images are opened by the last two functions alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.environment import environment
from benchmarks.paper.images import TrackImages
from benchmarks.paper.rows import PATCHES, STORED_WITH, PatchKind
from benchmarks.paper.track import KINDS, RUN_OF_KIND, Run, Suite
from benchmarks.paper.workspace import Result, Step, Workspace
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.class_module import ClassModule, both_ways
from modularizer.assembly.decode import decode
from modularizer.classifier import Classifier, ImageNetwork, predict
from modularizer.cost import count_cost
from modularizer.datasets.images import ImageSet
from modularizer.decomposition import Resources, decompose
from modularizer.epochs import Stop
from modularizer.preprocessing import Preprocessing
from modularizer.progress import ProgressCallback
from modularizer.training import TrainingResult, train_to_stops

_CALIBRATED = tuple(dict.fromkeys(STORED_WITH.values()))
STORED = torch.float16
"""Scores are kept, and judged, to three digits, so that they are small enough to publish."""


@dataclass(frozen=True)
class Job:
    """What a step works with.

    Attributes:
        suite: what it is a step of.
        images: the suite's.
        step: itself.
        workspace: where the results of what it needs are.
        device: where networks run.
        progress: told of long work.
    """

    suite: Suite
    images: TrackImages
    step: Step
    workspace: Workspace
    device: str
    progress: ProgressCallback

    @property
    def checkpoint(self) -> Path:
        """Where it keeps what it goes on from after an interruption."""
        return self.workspace.place(self.step) / f"{self.step.fingerprint[:16]}.checkpoint"

    def needed(self, work: str, *arguments: str) -> Result:
        """The result of a step that it needs."""
        for step in self.step.needs:
            if (step.work, step.arguments) == (work, (self.suite.name, *arguments)):
                return self.workspace.read(step)
        raise LookupError(f"{self.step.name} does not need {work} {arguments}")


def strong(job: Job) -> Result:
    """Train the strong network."""
    recipe = job.suite.strong
    (trained,) = train_to_stops(
        job.images.strong,
        recipe.architecture,
        recipe.training,
        stops=("best",),
        device=job.device,
        checkpoint=job.checkpoint,
        progress=job.progress,
    )
    return _trained({"best": trained})


def weak(job: Job, target: str, run: Run) -> Result:
    """Train a weak network; of one run the under- and the overfitting model are taken."""
    recipe = job.suite.recipe(run)
    stops = tuple(stop for own, stop in RUN_OF_KIND.values() if own == run)
    trained = train_to_stops(
        job.images.weak(target),
        recipe.architecture,
        recipe.training,
        stops=stops,
        device=job.device,
        checkpoint=job.checkpoint,
        progress=job.progress,
    )
    return _trained(dict(zip(stops, trained, strict=True)))


def modules(job: Job) -> Result:
    """Take the strong network apart."""
    classifier = _classifier(job.needed("strong"), "best").to(job.device)
    parts = decompose(
        classifier,
        job.images.strong,
        job.suite.modules,
        resources=Resources(checkpoint=job.checkpoint),
        progress=job.progress,
    )
    whole = count_cost(classifier.cpu().network, classifier.preprocessing)
    costs = [count_cost(one.network, one.preprocessing) for one in parts.class_modules]
    return Result(
        {
            "strong_accuracy": parts.strong_accuracy,
            "composed_accuracy": parts.masks.accuracy,
            "random_accuracy": list(parts.random_accuracy),
            "diff": parts.masks.diff,
            "kernels": whole.kernels,
            "multiply_adds": whole.multiply_adds,
            "classes": [
                {"class": one.class_name, **asdict(cost)}
                for one, cost in zip(parts.class_modules, costs, strict=True)
            ],
            "passes": dict(parts.passes),
            "history": [dict(row) for row in parts.masks.history],
            "environment": environment(job.device),
        },
        {"modules": parts.masks.kept, "random": parts.random_masks[0]},
    )


def validation_composed(job: Job) -> Result:
    """Scores of the strong network and of its modules on its own validation images.

    With them, of each class, the scores of its own training images: what the paper's calibration
    is fitted to.
    """
    patches, data = _Patches(job), job.images.strong
    found = _on_strong_data(patches, data.validation)
    for label, name in enumerate(data.class_names):
        own = data.train.of_class(name)
        for patch in _CALIBRATED:
            found[f"own/{name}/{patch}"] = patches.scores(patch, own, label)
    return Result({"class_names": list(data.class_names)}, found)


def validation_scores(job: Job, target: str) -> Result:
    """Scores of a target class's weak models, and of what patches them, on validation images."""
    found = _on_weak_data(job, target, job.images.weak(target).validation)
    return Result(_accuracies(job, target), found)


def held_out_composed(job: Job) -> Result:
    """The same as `validation_composed` on held-out images: what was chosen is chosen by now."""
    purpose = f"{job.step.name} of the benchmark's tables"
    images = job.images.strong.test.open(purpose)
    return Result({"given_out_for": purpose}, _on_strong_data(_Patches(job), images))


def held_out_scores(job: Job, target: str) -> Result:
    """The same as `validation_scores` on held-out images: what was chosen is chosen by now."""
    purpose = f"{job.step.name} of the benchmark's tables"
    images = job.images.weak(target).test.open(purpose)
    return Result({"given_out_for": purpose}, _on_weak_data(job, target, images))


WORK: Mapping[str, Callable[..., Result]] = {
    work.__name__: work
    for work in (
        strong,
        weak,
        modules,
        validation_composed,
        validation_scores,
        held_out_composed,
        held_out_scores,
    )
}


def _trained(trained: Mapping[Stop, TrainingResult]) -> Result:
    first = next(iter(trained.values()))
    classifier = first.classifier.cpu()
    return Result(
        {
            "architecture": classifier.architecture.model_dump(mode="json"),
            "preprocessing": classifier.preprocessing.model_dump(mode="json"),
            "class_names": list(classifier.class_names),
            "epochs": {stop: one.epoch for stop, one in trained.items()},
            "best_epoch": first.best_epoch,
            "validation_accuracy": {stop: one.validation_accuracy for stop, one in trained.items()},
            "history": [dict(row) for row in first.history],
            "cost": asdict(count_cost(classifier.network, classifier.preprocessing)),
            "environment": environment(),
        },
        {
            f"{stop}/{name}": tensor.cpu()
            for stop, one in trained.items()
            for name, tensor in one.classifier.network.state_dict().items()
        },
    )


def _classifier(result: Result, stop: Stop) -> Classifier:
    architecture = ArchitectureSpec.model_validate(result.facts["architecture"])
    network = build_network(architecture)
    network.load_state_dict(
        {
            key.partition("/")[2]: tensor
            for key, tensor in result.tensors.items()
            if key.partition("/")[0] == stop
        }
    )
    return Classifier(
        network,
        architecture=architecture,
        preprocessing=Preprocessing.model_validate(result.facts["preprocessing"]),
        class_names=result.facts["class_names"],
    ).eval()


class _Patches:
    """Whatever can patch: the strong network's modules, random masks' and the strong one itself."""

    def __init__(self, job: Job) -> None:
        self.classifier = _classifier(job.needed("strong"), "best")
        preprocessing, self.network = self.classifier.preprocessing, self.classifier.network
        self.plan = slicing_plan(self.network, (preprocessing.channels, *preprocessing.size))
        self.masks = job.needed("modules").tensors
        self.device = job.device
        self.mirrors = job.suite.strong.training.augment_flip

    def scores(self, patch: PatchKind, images: NDArray[np.uint8], output: int) -> Tensor:
        """One class's score: (N,)."""
        if patch == "strong":
            return self._whole(images)[:, output]
        kept = self.masks[STORED_WITH[patch]][output].bool()
        module = ClassModule(
            decode(self.network.cpu(), self.plan, kept, output=output),
            architecture=self.classifier.architecture,
            kept=kept,
            output=output,
            class_name=self.classifier.class_names[output],
            preprocessing=self.classifier.preprocessing,
        )
        if patch == "mirrored" and self.mirrors:
            module = both_ways(module)
        return _run(module.to(self.device), images)

    def every_score(self, patch: PatchKind, images: NDArray[np.uint8]) -> Tensor:
        """Every class's score: (N, classes)."""
        if patch == "strong":
            return self._whole(images)
        outputs = range(self.plan.outputs)
        return torch.stack([self.scores(patch, images, one) for one in outputs], dim=1)

    def _whole(self, images: NDArray[np.uint8]) -> Tensor:
        return _run(self.classifier.to(self.device), images)


def _run(model: ImageNetwork, images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(predict(model, images)).to(STORED)


def _on_strong_data(patches: _Patches, images: ImageSet) -> dict[str, Tensor]:
    """Of each image every class's score, by each patch: (N, classes); and the labels."""
    found: dict[str, Tensor] = {
        patch: patches.every_score(patch, images.images) for patch in _CALIBRATED
    }
    return {**found, "labels": torch.from_numpy(images.labels)}


def _on_weak_data(job: Job, target: str, images: ImageSet) -> dict[str, Tensor]:
    output = job.images.strong.class_names.index(target)
    patches = _Patches(job)
    found = {f"patch/{one}": patches.scores(one, images.images, output) for one in PATCHES}
    for kind in KINDS:
        run, stop = RUN_OF_KIND[kind]
        classifier = _classifier(job.needed("weak", target, run), stop).to(job.device)
        found[f"weak/{kind}"] = _run(classifier, images.images)
    return {**found, "labels": torch.from_numpy(images.labels)}


def _accuracies(job: Job, target: str) -> dict[str, Any]:
    names: Sequence[str] = job.images.weak(target).class_names
    found: dict[str, Any] = {"class_names": list(names), "models": {}}
    for kind in KINDS:
        run, stop = RUN_OF_KIND[kind]
        facts = job.needed("weak", target, run).facts
        found["models"][kind] = {
            "epoch": facts["epochs"][stop],
            "validation_accuracy": facts["validation_accuracy"][stop],
            "cost": facts["cost"],
        }
    return found


def perform(job: Job) -> Result:
    """Do a step."""
    return WORK[job.step.work](job, *job.step.arguments[1:])
