"""What a search is measured on: a strong model, and images in a number that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from modularizer.analysis.importance import importance
from modularizer.analysis.sensitivity import DROP_RATIOS, Sensitivity, measure_sensitivity
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.checkpoint import Checkpoint, Identity
from modularizer.classifier import Classifier
from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.splits import require_every_class
from modularizer.decomposition import identity_of, require_sliceable
from modularizer.preprocessing import Preprocessing, as_tensor
from modularizer.progress import ProgressCallback, ignore_progress
from modularizer.search.opening import images_for, open_scorer
from modularizer.search.scoring import CandidateScorer
from modularizer.search.task import SearchTask
from modularizer.settings import DecompositionSettings, TrainingSettings
from modularizer.training import train_classifier

_SIDE = 32  # five halvings, which the paper's networks have, need 32 pixels
# Thirteen layers without batch norm learn 719 digits only in small steps at a high rate.
_TRAINING = TrainingSettings(epochs=12, batch_size=16, learning_rate=0.05, weight_decay=0.0)
EPOCHS = _TRAINING.epochs


@dataclass(frozen=True, eq=False)
class Subject:
    """A strong model and the data that it is taken apart with.

    Attributes:
        name: an address, or how it came about.
        strong: the model, on the device that is measured.
        data: its classes; of the validation images as many as are measured on.
        training_seconds: what training it on the spot took; None if it was there.
    """

    name: str
    strong: Classifier
    data: DataSplits
    training_seconds: float | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.strong.device

    def facts(self) -> dict[str, Any]:
        """What was measured on, as JSON values."""
        return {
            "model": self.name,
            "architecture": self.strong.architecture.model_dump(mode="json"),
            "data": self.data.source,
            "data_fingerprint": self.data.fingerprint,
            "classes": len(self.data.class_names),
            "validation_images": len(self.data.validation),
            "training_images": len(self.data.train),
            "training_seconds": self.training_seconds,
        }

    def first_classes(self, count: int) -> Subject:
        """The same model, asked about its first classes alone: its other scores are cut off."""
        names = self.strong.class_names[:count]
        spec = ArchitectureSpec(
            name=self.strong.architecture.name,
            arguments={**self.strong.architecture.arguments, "num_classes": len(names)},
        )
        network = build_network(spec)
        whole = self.strong.network.state_dict()
        network.load_state_dict(
            {name: whole[name][: len(cut)] if cut.ndim else whole[name]
             for name, cut in network.state_dict().items()}
        )  # fmt: skip
        strong = Classifier(
            network.to(self.device),
            architecture=spec,
            preprocessing=self.strong.preprocessing,
            class_names=names,
        ).eval()
        return replace(
            self, name=f"{self.name}, its first {count} classes", strong=strong,
            data=self.data.only(names),
        )  # fmt: skip


def train_subject(
    data: DataSplits,
    *,
    network: str = "simcnn",
    width_multiplier: float = 0.25,
    epochs: int = EPOCHS,
    device: torch.device | str = "cpu",
    progress: ProgressCallback = ignore_progress,
) -> Subject:
    """Train a strong model on the spot: not well, but with scores that mean something.

    Images smaller than the network's 32 pixels are brought to that size by its preprocessing.

    Args:
        data: splits, of which it learns the training images.
        network: ``simcnn`` or ``rescnn``.
        width_multiplier: of the paper's widths.
        epochs: over the training images.
        device: where to train, and to measure.
        progress: told after each epoch.
    """
    fitted = Preprocessing.fitted(data.train)
    size = (max(_SIDE, *fitted.size),) * 2
    spec = ArchitectureSpec(
        name=network,
        arguments={
            "width_multiplier": width_multiplier,
            "in_channels": fitted.channels,
            "input_size": size[0],
            "dropout": 0.0,
        },
    )
    began = perf_counter()
    trained = train_classifier(
        data,
        spec,
        _TRAINING.model_copy(update={"epochs": epochs}),
        preprocessing=fitted.model_copy(update={"size": size}),
        device=device,
        progress=progress,
    )
    name = f"{network} at width {width_multiplier:g}, {epochs} epochs on {data.source}"
    return Subject(name, trained.classifier, data, perf_counter() - began)


@dataclass(frozen=True, eq=False)
class Workbench:
    """What every search on a subject starts from.

    Attributes:
        subject: the model and the data.
        scorer: runs candidates.
        importance: float64 (classes, channels).
        sensitivity: of the segments, measured at one drop ratio, the one that decides.
        strong_accuracy: of the whole model on the validation images, in [0, 1].
    """

    subject: Subject
    scorer: CandidateScorer
    importance: Tensor
    sensitivity: Sensitivity
    strong_accuracy: float

    def task(
        self, settings: DecompositionSettings, progress: ProgressCallback = ignore_progress
    ) -> SearchTask:
        """A search with these settings; nothing of it is kept."""
        nowhere = Checkpoint(None, Identity({}))
        return SearchTask(self.scorer, self.importance, settings, nowhere, progress)

    def fitting_sensitivity(self, settings: DecompositionSettings) -> Sensitivity | None:
        """The sensitivity, for settings whose first candidates depend on it."""
        return None if settings.first_population == "random" else self.sensitivity

    def identity(self, settings: DecompositionSettings) -> Identity:
        """What a search's result depends on."""
        return identity_of(self.subject.strong, self.subject.data, settings)


@contextmanager
def open_workbench(
    subject: Subject,
    settings: DecompositionSettings,
    *,
    workers: int,
    progress: ProgressCallback = ignore_progress,
) -> Iterator[Workbench]:
    """Prepare a subject for searches, as a decomposition does.

    Args:
        subject: what to search on.
        settings: micro-batches, precision and tolerated loss; searches may differ in the rest.
        workers: candidates that run at once; 1 on a GPU.
        progress: told of each segment.

    Raises:
        ModularizerError: if a class has no image, or memory is short.
    """
    strong = subject.strong
    require_every_class(subject.data.train, "the training images")
    shape = (strong.preprocessing.channels, *strong.preprocessing.size)
    plan = slicing_plan(strong.network, shape)
    few = strong.prepare(as_tensor(subject.data.validation.images[:2], strong.device))
    require_sliceable(strong, plan, few)
    train = images_for(strong, subject.data.train, settings)
    weight = importance(strong.network, plan, [train.batches(c) for c in range(plan.outputs)])
    scorer, _ = open_scorer(
        strong, plan, subject.data.validation, settings, workers=workers, memory_limit=None
    )
    with scorer:
        accuracy = scorer.composed_accuracy(torch.ones(weight.shape, dtype=torch.bool))
        sensitivity = measure_sensitivity(
            plan,
            weight,
            scorer.composed_accuracy,
            unharmed=accuracy,
            tolerated_loss=settings.tolerated_loss,
            drop_ratios=DROP_RATIOS[-1:],
            progress=progress,
        )
        scorer.forget()
        yield Workbench(subject, scorer, weight, sensitivity, accuracy)
