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
from benchmarks.paper.track import KINDS, RUN_OF_KIND, Run, Suite
from benchmarks.paper.workspace import Result, Step, Workspace
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.decode import decode
from modularizer.classifier import Classifier, predict
from modularizer.cost import count_cost
from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.images import ImageSet
from modularizer.decomposition import Resources, decompose
from modularizer.epochs import Stop
from modularizer.preprocessing import Preprocessing
from modularizer.progress import ProgressCallback
from modularizer.training import TrainingResult, train_to_stops

STORED = torch.float16
"""Scores are kept, and judged, to three digits, so that they are small enough to publish."""

PATCHES = ("modules", "random", "strong")
"""What a weak model is patched with: its class's module; one of a random mask of the same size;
the strong network's own score, nothing cut away."""


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
        checkpoint=job.workspace.place(job.step) / f"{job.step.fingerprint[:16]}.checkpoint",
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
        resources=Resources(
            checkpoint=job.workspace.place(job.step) / f"{job.step.fingerprint[:16]}.checkpoint"
        ),
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
    scorers, data = _scorers(job), job.images.strong
    found = _composed(scorers, data.validation)
    for label, name in enumerate(data.class_names):
        own = data.train.of_class(name)
        for patch, score in scorers.items():
            found[f"own/{name}/{patch}"] = score(own, label).to(STORED)
    return Result({"class_names": list(data.class_names)}, found)


def validation_scores(job: Job, target: str) -> Result:
    """Scores of a target class's weak models, and of what patches them, on validation images."""
    data = job.images.weak(target)
    return Result(
        _accuracies(job, target), _scores(job, target, data.validation, job.images.strong)
    )


def held_out_composed(job: Job) -> Result:
    """The same as `validation_composed` on held-out images: what was chosen is chosen by now."""
    images = job.images.strong.test.open(f"{job.step.name} of the benchmark's tables")
    return Result({"class_names": list(images.class_names)}, _composed(_scorers(job), images))


def held_out_scores(job: Job, target: str) -> Result:
    """The same as `validation_scores` on held-out images: what was chosen is chosen by now."""
    images = job.images.weak(target).test.open(f"{job.step.name} of the benchmark's tables")
    return Result({}, _scores(job, target, images, job.images.strong))


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

Scorer = Callable[[NDArray[np.uint8], int], Tensor]
"""From uint8 images (N, H, W, C) and a class of the strong network to its score, float32 (N,)."""


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


def _scorers(job: Job) -> dict[str, Scorer]:
    """Whatever can patch, by its name in `PATCHES`."""
    classifier = _classifier(job.needed("strong"), "best")
    preprocessing, network = classifier.preprocessing, classifier.network
    plan = slicing_plan(network, (preprocessing.channels, *preprocessing.size))
    masks = job.needed("modules").tensors

    def whole(images: NDArray[np.uint8], output: int) -> Tensor:
        return _run(classifier.to(job.device), images)[:, output]

    def cut(name: str) -> Scorer:
        def score(images: NDArray[np.uint8], output: int) -> Tensor:
            module = Classifier(
                decode(network.cpu(), plan, masks[name][output].bool(), output=output),
                architecture=classifier.architecture,
                preprocessing=preprocessing,
                class_names=("",),
            )
            return _run(module.to(job.device), images)[:, 0]

        return score

    return {"modules": cut("modules"), "random": cut("random"), "strong": whole}


def _run(classifier: Classifier, images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(predict(classifier, images))


def _composed(scorers: Mapping[str, Scorer], images: ImageSet) -> dict[str, Tensor]:
    """Of each image every class's score: (N, classes), and the labels."""
    found = {
        patch: torch.stack(
            [score(images.images, label) for label in range(len(images.class_names))], dim=1
        ).to(STORED)
        for patch, score in scorers.items()
    }
    return {**found, "labels": torch.from_numpy(images.labels)}


def _scores(job: Job, target: str, images: ImageSet, strong_data: DataSplits) -> dict[str, Tensor]:
    output = strong_data.class_names.index(target)
    found = {
        f"patch/{patch}": score(images.images, output).to(STORED)
        for patch, score in _scorers(job).items()
    }
    for kind in KINDS:
        run, stop = RUN_OF_KIND[kind]
        classifier = _classifier(job.needed("weak", target, run), stop).to(job.device)
        found[f"weak/{kind}"] = _run(classifier, images.images).to(STORED)
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


def default_folder(track: str) -> Path:
    """Where a track's steps are kept unless somebody says otherwise."""
    return Path(".patchbay") / f"paper-{track}"
