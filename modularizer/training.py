"""Training a classifier (section 5.3), and stopping where the paper's weak models stop."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.checkpoint import Checkpoint, Identity
from modularizer.classifier import Classifier, channels_outermost, input_needs
from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.images import ImageSet
from modularizer.epochs import Epochs, Examples, Stop, scores_of, weights_at
from modularizer.errors import ArchitectureError, DataError
from modularizer.preprocessing import Preprocessing, as_tensor
from modularizer.progress import Progress, ProgressCallback, ignore_progress
from modularizer.settings import TrainingSettings
from modularizer.software import software_versions


@dataclass(frozen=True)
class TrainingResult:
    """A trained classifier and how it came about.

    Attributes:
        classifier: with the weights of ``epoch``, in evaluation mode.
        epoch: the epoch that was taken, from 1.
        best_epoch: the first epoch with the highest validation accuracy.
        validation_accuracy: of ``epoch``, in [0, 1].
        history: for each epoch ``train_loss``, ``validation_accuracy`` and ``learning_rate`` (at
            its start).
    """

    classifier: Classifier
    epoch: int
    best_epoch: int
    validation_accuracy: float
    history: tuple[Mapping[str, float], ...]


def train_classifier(
    data: DataSplits,
    architecture: ArchitectureSpec,
    settings: TrainingSettings,
    *,
    preprocessing: Preprocessing | None = None,
    stop: Stop = "best",
    device: torch.device | str = "cpu",
    progress: ProgressCallback = ignore_progress,
) -> TrainingResult:
    """Train a network from scratch; test images are not looked at.

    Args:
        data: splits; learns from ``train``, picks the epoch by ``validation``.
        architecture: what to build; ``num_classes`` is filled in from the data.
        settings: schedule and seed; the same seed gives the same network.
        preprocessing: the network's; None fits it to the training images.
        stop: which epoch's weights to take: the best one, ``underfitting``, half of the best
            (section 5.2), at least the first, or the last.
        device: where to train.
        progress: told after each epoch.

    Raises:
        ArchitectureError: if the network can't be built.
        DataError: if a split is empty or the network does not take its images.
        ModularizerError: if the loss stops being finite.
    """
    (result,) = train_to_stops(
        data,
        architecture,
        settings,
        stops=(stop,),
        preprocessing=preprocessing,
        device=device,
        progress=progress,
    )
    return result


def train_to_stops(
    data: DataSplits,
    architecture: ArchitectureSpec,
    settings: TrainingSettings,
    *,
    stops: Sequence[Stop],
    preprocessing: Preprocessing | None = None,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    progress: ProgressCallback = ignore_progress,
) -> tuple[TrainingResult, ...]:
    """Train a network once and take the weights of several epochs of it.

    Args:
        data: see `train_classifier`, also for what is not listed here.
        architecture: what to build.
        settings: how.
        stops: which epochs' weights to take, at least one.
        preprocessing: the network's.
        device: where to train.
        checkpoint: file in which every epoch is kept, and from which an interrupted training
            goes on to the same bits (on one CPU thread); None to keep nothing.
        progress: told after each epoch, which is kept by then.

    Returns:
        A result for each of ``stops``, each with a network of its own on ``device``.

    Raises:
        CheckpointError: if the checkpoint is of something else, or broken.
    """
    for name, split in (("training", data.train), ("validation", data.validation)):
        if not len(split):
            raise DataError(f"the {name} split of {data.source} has no image")
    if len(data.class_names) < 2:
        raise DataError(f"a classifier needs two classes or more, found {data.class_names[0]!r}")
    asked = architecture.arguments.get("num_classes", len(data.class_names))
    if asked != len(data.class_names):
        raise ArchitectureError(
            f"num_classes={asked} doesn't fit the data's {len(data.class_names)} classes; leave "
            "it out, or choose the data's classes"
        )
    preprocessing = preprocessing or Preprocessing.fitted(data.train)
    arguments = {**architecture.arguments, "num_classes": len(data.class_names)}
    spec = ArchitectureSpec(name=architecture.name, arguments=arguments)
    kept = None
    if checkpoint is not None:
        identity = _identity(data, spec, preprocessing, settings, stops, device)
        kept = Checkpoint(checkpoint, identity)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)  # builders and dropout draw from the global generator
        network = build_network(spec).to(device)
        train, validation = _examples(network, data, preprocessing)
        epochs = Epochs(network, train, validation, settings, stops)
        if kept is not None and (saved := kept.load("training")) is not None:
            epochs.restore(saved)
        while epochs.epoch < settings.epochs:
            epochs.advance()
            if kept is not None:
                kept.save("training", *epochs.state())
            progress(Progress("train", epochs.epoch, settings.epochs, epochs.history[-1]))
    return tuple(_taken(epochs, stop, spec, preprocessing, data.class_names) for stop in stops)


def _taken(
    epochs: Epochs,
    stop: Stop,
    spec: ArchitectureSpec,
    preprocessing: Preprocessing,
    class_names: tuple[str, ...],
) -> TrainingResult:
    network = copy.deepcopy(epochs.network)
    network.load_state_dict(weights_at(epochs, stop))
    epoch = epochs.taken(stop)
    return TrainingResult(
        Classifier(
            network, architecture=spec, preprocessing=preprocessing, class_names=class_names
        ).eval(),
        epoch,
        epochs.best_epoch,
        epochs.history[epoch - 1]["validation_accuracy"],
        tuple(epochs.history),
    )


def _identity(
    data: DataSplits,
    spec: ArchitectureSpec,
    preprocessing: Preprocessing,
    settings: TrainingSettings,
    stops: Sequence[Stop],
    device: torch.device | str,
) -> Identity:
    task = {
        "architecture": spec.model_dump(mode="json"),
        "preprocessing": preprocessing.model_dump(mode="json"),
        "data": [data.train.fingerprint, data.validation.fingerprint],
        "settings": settings.model_dump(mode="json"),
        "stops": sorted(stops),
        "device": torch.device(device).type,
    }
    return Identity(task, software_versions("patchbay", "torch", "numpy"))


def _examples(
    network: nn.Module, data: DataSplits, preprocessing: Preprocessing
) -> tuple[Examples, Examples]:
    """Training and validation images as the network takes them, on its device; or why it can't."""
    device = next(network.parameters()).device
    images, labels = _on_device(data.train, preprocessing, device)
    validation = _on_device(data.validation, preprocessing, device)
    try:
        needs = input_needs(network, validation[0])
        if not needs.any_layout:
            images = channels_outermost(images)
            validation = (channels_outermost(validation[0]), validation[1])
        given = scores_of(network, validation[0][:1], 1)
    except TypeError as error:
        raise ArchitectureError(
            f"the network ({type(network).__name__}) must give one score a class, (N, classes), "
            "and nothing else"
        ) from error
    except RuntimeError as error:
        raise DataError(
            f"the network ({type(network).__name__}) doesn't take images prepared to shape "
            f"{tuple(images.shape[1:])}: {error}"
        ) from error
    if needs.own_copy:
        raise ArchitectureError(
            f"the network ({type(network).__name__}) writes into its images, which are shown "
            "to it in every epoch; let its first operation give a new tensor"
        )
    if given.shape != (1, len(data.class_names)):
        raise ArchitectureError(
            f"the network ({type(network).__name__}) gives scores of shape {tuple(given.shape)} "
            f"for one image; {len(data.class_names)} classes need (1, {len(data.class_names)})"
        )
    return (images, labels), validation


def _on_device(images: ImageSet, preprocessing: Preprocessing, device: torch.device) -> Examples:
    prepared = preprocessing.prepare(as_tensor(images.images, device))
    return prepared, torch.from_numpy(images.labels).to(device)
