"""A network learning, epoch by epoch: what the next epoch depends on, and what it leaves."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modularizer.augmentation import augmented
from modularizer.checkpoint import Saved
from modularizer.classifier import inference
from modularizer.devices import autocast
from modularizer.errors import ModularizerError
from modularizer.settings import TrainingSettings

Stop = Literal["best", "underfitting", "last"]
"""Which epoch's weights are taken: the best one's by validation accuracy, the first of equals;
half of the best's number, at least 1 (section 5.2); or the last one's."""

Examples = tuple[Tensor, Tensor]
"""Prepared images, float32 (N, C, H, W), and their labels, int64 (N,), on one device."""

_WARM_UP, _LOWEST = 0.25, 0.04


class Epochs:
    """A training under way. Dropout draws from torch's global generators; fork them around it.

    Args:
        network: to be trained, on its device.
        train: what to learn from.
        validation: what the best epoch is found by.
        settings: schedule and seed.
        stops: which epochs' weights are to be had in the end; no others are kept.
    """

    def __init__(
        self,
        network: nn.Module,
        train: Examples,
        validation: Examples,
        settings: TrainingSettings,
        stops: Collection[Stop],
    ) -> None:
        self.network = network
        self.train = train
        self.validation = validation
        self.settings = settings
        self.stops = frozenset(stops)
        self.history: list[dict[str, float]] = []
        self.snapshots: dict[int, dict[str, Tensor]] = {}
        self._order = torch.Generator().manual_seed(settings.seed)
        self._optimiser = torch.optim.SGD(
            network.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=settings.momentum > 0,
            weight_decay=settings.weight_decay,
        )
        self._steps_an_epoch = -(-len(train[0]) // settings.batch_size)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """The first epoch with the highest validation accuracy, from 1."""
        accuracies = [one["validation_accuracy"] for one in self.history]
        return accuracies.index(max(accuracies)) + 1

    def taken(self, stop: Stop) -> int:
        """The epoch that a rule takes, by what is known now."""
        if stop == "last":
            return self.epoch
        return self.best_epoch if stop == "best" else max(1, self.best_epoch // 2)

    def advance(self) -> None:
        """Train for an epoch, score the validation images, keep what may be asked for.

        Raises:
            ModularizerError: if the loss or a score is not finite.
        """
        images, labels = self.train
        rate = self._rate_at(self.epoch * self._steps_an_epoch)
        self.network.train()
        total = torch.zeros((), device=images.device)
        order = torch.randperm(len(images), generator=self._order)
        for step, batch in enumerate(order.split(self.settings.batch_size)):
            if len(batch) == 1 < self.settings.batch_size and len(images) > 1:
                continue  # a last one alone: batch norm has no statistics of it
            for group in self._optimiser.param_groups:
                group["lr"] = self._rate_at(self.epoch * self._steps_an_epoch + step)
            seen = augmented(images[batch.to(images.device)], self.settings, self._order)
            with autocast(images.device, self.settings.precision):
                loss = F.cross_entropy(self.network(seen), labels[batch.to(images.device)])
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()
            total += loss.detach() * len(batch)
        mean_loss = float(total) / len(images)
        scores = scores_of(self.network, self.validation[0], self.settings.batch_size)
        # the loss does not show what the last step did
        if not (torch.isfinite(total) and torch.isfinite(scores).all()):
            raise ModularizerError(
                f"epoch {self.epoch + 1} ends with a loss of {mean_loss} and scores that are not "
                f"all finite; lower the learning rate ({self.settings.learning_rate}) or look at "
                "the images"
            )
        right = int((scores.argmax(dim=1) == self.validation[1]).sum())
        self.history.append(
            {
                "train_loss": mean_loss,
                "validation_accuracy": right / len(scores),
                "learning_rate": rate,
            }
        )
        self.snapshots[self.epoch] = {
            name: tensor.detach().to("cpu", copy=True)
            for name, tensor in self.network.state_dict().items()
        }
        needed = self._needed()
        self.snapshots = {
            epoch: self.snapshots[epoch] for epoch in self.snapshots if epoch in needed
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the rest of the training depends on, as tensors and JSON values."""
        tensors = {
            "random/order": self._order.get_state(),
            "random/cpu": torch.get_rng_state(),
            **{f"network/{name}": tensor for name, tensor in self.network.state_dict().items()},
        }
        device = self.train[0].device
        if device.type == "cuda":
            tensors["random/cuda"] = torch.cuda.get_rng_state(device)
        for number, parameter in enumerate(self.network.parameters()):
            momentum = self._optimiser.state[parameter].get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum/{number}"] = momentum
        for epoch, snapshot in self.snapshots.items():
            tensors.update({f"epoch {epoch}/{name}": tensor for name, tensor in snapshot.items()})
        return tensors, {"history": self.history}

    def restore(self, saved: Saved) -> None:
        """Go on from a `state`; torch's global generators are set, too."""
        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in saved.tensors.items():
            part, _, name = key.partition("/")
            parts.setdefault(part, {})[name] = tensor
        device = self.train[0].device
        self.network.load_state_dict(parts["network"])
        for number, parameter in enumerate(self.network.parameters()):
            if (momentum := parts.get("momentum", {}).get(str(number))) is not None:
                self._optimiser.state[parameter]["momentum_buffer"] = momentum.to(device)
        self._order.set_state(parts["random"]["order"])
        torch.set_rng_state(parts["random"]["cpu"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(parts["random"]["cuda"], device)
        self.history = [dict(row) for row in saved.facts["history"]]
        self.snapshots = {
            int(part.removeprefix("epoch ")): tensors
            for part, tensors in parts.items()
            if part.startswith("epoch ")
        }

    def _rate_at(self, step: int) -> float:
        settings = self.settings
        if settings.schedule == "one-cycle":
            return settings.learning_rate * one_cycle(
                step / (settings.epochs * self._steps_an_epoch)
            )
        rate = settings.learning_rate
        for end in {max(1, round(share * settings.epochs)) for share in settings.milestones}:
            rate *= 0.1 if step >= end * self._steps_an_epoch else 1.0
        return rate

    def _needed(self) -> set[int]:
        """The epochs that a rule may take in the end."""
        needed = {self.taken(stop) for stop in self.stops}
        if "underfitting" in self.stops:  # half of any epoch that may yet be the best
            needed.update(range((self.epoch + 1) // 2, self.epoch + 1))
        return needed


def one_cycle(done: float) -> float:
    """Learning rate, as a share of its highest, when ``done`` of the training is over.

    It rises in a straight line from 0.04 for a quarter of the steps, then falls along a cosine to
    0, after Smith and Topin, "Super-Convergence", 2018.

    Example:
        >>> one_cycle(0.25), round(one_cycle(0.625), 3)
        (1.0, 0.5)
    """
    if done < _WARM_UP:
        return _LOWEST + (1 - _LOWEST) * done / _WARM_UP
    return (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP))) / 2


def scores_of(network: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    """What a network gives for prepared images, in batches: float32 (N, classes)."""
    with inference(network):
        return torch.cat([network(batch) for batch in images.split(batch_size)])


def weights_at(epochs: Epochs, stop: Stop) -> Mapping[str, Tensor]:
    """The weights that a rule takes, on the CPU, by name."""
    return epochs.snapshots[epochs.taken(stop)]
