"""Training a classifier (section 5.3), and stopping where the paper's weak models stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.classifier import (
    Classifier,
    channels_outermost,
    inference,
    takes_channels_last,
)
from modularizer.datasets.images import DataSplits, ImageSet
from modularizer.errors import ArchitectureError, DataError, ModularizerError
from modularizer.preprocessing import Preprocessing, as_tensor
from modularizer.progress import Progress, ProgressCallback, ignore_progress
from modularizer.settings import TrainingSettings

Stop = Literal["best", "underfitting"]


@dataclass(frozen=True)
class TrainingResult:
    """A trained classifier and how it came about.

    Attributes:
        classifier: with the weights of ``epoch``, in evaluation mode.
        epoch: the epoch that was taken, from 1.
        best_epoch: the first epoch with the highest validation accuracy.
        validation_accuracy: of ``epoch``, in [0, 1].
        history: for each epoch ``train_loss``, ``validation_accuracy`` and ``learning_rate``.
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
        stop: which epoch's weights to take: the best one, or ``underfitting``, half of the best
            (section 5.2), at least the first.
        device: where to train.
        progress: told after each epoch.

    Raises:
        ArchitectureError: if the network can't be built.
        DataError: if a split is empty or the network does not take its images.
        ModularizerError: if the loss stops being finite.
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
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)  # builders and dropout draw from the global generator
        network = build_network(spec).to(device)
        snapshots, history = _fit(network, data, preprocessing, settings, stop, progress)
    accuracies = [epoch["validation_accuracy"] for epoch in history]
    best = accuracies.index(max(accuracies)) + 1
    taken = best if stop == "best" else max(1, best // 2)
    network.load_state_dict(snapshots[taken])
    classifier = Classifier(
        network,
        architecture=spec,
        preprocessing=preprocessing,
        class_names=data.class_names,
    ).eval()
    return TrainingResult(classifier, taken, best, accuracies[taken - 1], tuple(history))


def _fit(
    network: nn.Module,
    data: DataSplits,
    preprocessing: Preprocessing,
    settings: TrainingSettings,
    stop: Stop,
    progress: ProgressCallback,
) -> tuple[dict[int, dict[str, Tensor]], list[dict[str, float]]]:
    device = next(network.parameters()).device
    images, labels = _on_device(data.train, preprocessing, device)
    validation = _on_device(data.validation, preprocessing, device)
    try:
        if not takes_channels_last(network, validation[0]):
            images = channels_outermost(images)
            validation = (channels_outermost(validation[0]), validation[1])
        given = _scores(network, validation[0][:1], 1)
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
    if given.shape != (1, len(data.class_names)):
        raise ArchitectureError(
            f"the network ({type(network).__name__}) gives scores of shape {tuple(given.shape)} "
            f"for one image; {len(data.class_names)} classes need (1, {len(data.class_names)})"
        )
    order = torch.Generator().manual_seed(settings.seed)
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.momentum > 0,
        weight_decay=settings.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        optimiser, sorted({max(1, round(m * settings.epochs)) for m in settings.milestones})
    )
    history: list[dict[str, float]] = []
    snapshots: dict[int, dict[str, Tensor]] = {}
    best = (0, -1.0)
    for epoch in range(1, settings.epochs + 1):
        learning_rate = float(schedule.get_last_lr()[0])
        network.train()
        total = torch.zeros((), device=device)
        for batch in torch.randperm(len(images), generator=order).split(settings.batch_size):
            if len(batch) == 1 < settings.batch_size and len(images) > 1:
                continue  # a last one alone: batch norm has no statistics of it
            seen = _augmented(images[batch.to(device)], settings, order)
            loss = F.cross_entropy(network(seen), labels[batch.to(device)])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.detach() * len(batch)
        schedule.step()
        mean_loss = float(total) / len(images)
        scores = _scores(network, validation[0], settings.batch_size)
        # the loss does not show what the last step did
        if not (torch.isfinite(total) and torch.isfinite(scores).all()):
            raise ModularizerError(
                f"epoch {epoch} ends with a loss of {mean_loss} and scores that are not all "
                f"finite; lower the learning rate ({settings.learning_rate}) or look at the images"
            )
        accuracy = int((scores.argmax(dim=1) == validation[1]).sum()) / len(scores)
        history.append(
            {
                "train_loss": mean_loss,
                "validation_accuracy": accuracy,
                "learning_rate": learning_rate,
            }
        )
        snapshots[epoch] = {
            name: tensor.detach().to("cpu", copy=True)
            for name, tensor in network.state_dict().items()
        }
        if accuracy > best[1]:
            best = (epoch, accuracy)
        _forget(snapshots, best=best[0], epoch=epoch, stop=stop)
        progress(Progress("train", epoch, settings.epochs, history[-1]))
    return snapshots, history


def _forget(snapshots: dict[int, dict[str, Tensor]], *, best: int, epoch: int, stop: Stop) -> None:
    """Drop the epochs that can't be taken any more: one stays, or for half of the best, half."""
    halves = {max(1, best // 2), *range((epoch + 1) // 2, epoch + 1)}
    needed = {best} if stop == "best" else halves
    for past in [one for one in snapshots if one not in needed]:
        del snapshots[past]


def _on_device(
    images: ImageSet, preprocessing: Preprocessing, device: torch.device
) -> tuple[Tensor, Tensor]:
    prepared = preprocessing.prepare(as_tensor(images.images, device))
    return prepared, torch.from_numpy(images.labels).to(device)


def _augmented(images: Tensor, settings: TrainingSettings, generator: torch.Generator) -> Tensor:
    """Mirror and shift each image at random, as the settings say."""
    if settings.augment_flip:
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(
            mirrored.to(images.device)[:, None, None, None], images.flip(3), images
        )
    if settings.augment_crop:
        images = _shifted(images, settings.augment_crop, generator)
    return images


def _shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each image moved by up to ``most`` pixels each way, zeros coming in; same shape."""
    count, channels, height, width = images.shape
    padded = F.pad(images, (most,) * 4)
    top, left = torch.randint(2 * most + 1, (2, count), generator=generator).to(images.device)
    rows = (top[:, None] + torch.arange(height, device=images.device))[:, None, :, None]
    columns = (left[:, None] + torch.arange(width, device=images.device))[:, None, None, :]
    index = torch.arange(count, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return padded[index, channel, rows, columns]


def _scores(network: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    with inference(network):
        return torch.cat([network(batch) for batch in images.split(batch_size)])
