"""A search for masks by gradients: a gate a channel, all classes in one pass.

Each class has a logit for each channel. A step selects the channels with the highest logits that
the budget allows, runs all classes' modules with them as gates side by side, and moves the
logits against the slope of the composed model's loss.

GradSplitter (2023), which comes closest, starts from whole modules with a head each and weighs
kernels kept against accuracy; here importance says where to start, nothing but gates is trained,
and the budget is met at every step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modularizer.analysis.plan import SlicingPlan
from modularizer.assembly.masking import gated
from modularizer.classifier import frozen
from modularizer.devices import autocast
from modularizer.errors import DataError, ModularizerError
from modularizer.search.budget import Budget, Selector
from modularizer.search.gates import GateKind, open_gates
from modularizer.search.images import Prepare

PASSES_OF_A_STEP = 3
"""For each module and image: one pass forward, and one backward that counts as two."""

_DECAY = (0.9, 0.999)  # of Adam's two means, as its authors have it
_EPSILON = 1e-8


@dataclass(frozen=True, eq=False)
class GradientState:
    """Where a search stands between two epochs: tensors and numbers alone, to be stored.

    The first three tensors are on the device of the images.

    Attributes:
        logits: float32 (classes, channels): how much each class wants each channel.
        mean: Adam's running mean of the slope, same shape.
        square: Adam's running mean of its square, same shape.
        generator: uint8 (bytes,): state of the generator of every random choice.
        epoch: epochs done.
        step: steps done.
        passes: images x modules run so far; a backward pass counts as two.
        loss: mean loss of the last epoch; NaN before the first.
        accuracy: share of the last epoch's images that were right as they were learnt from.
    """

    logits: Tensor
    mean: Tensor
    square: Tensor
    generator: Tensor
    epoch: int = 0
    step: int = 0
    passes: int = 0
    loss: float = float("nan")
    accuracy: float = float("nan")


@dataclass(frozen=True, eq=False)
class GradientSearch:
    """What a search works on, and how: `start`, then `advance` epoch by epoch, then `finish`.

    On one CPU thread the same images, settings and state give the same bits.

    Attributes:
        network: the whole network; left as it is.
        plan: its slicing plan.
        images: images to learn from, uint8 (N, H, W, C), on the CPU.
        labels: int64 (N,), on the CPU.
        prepare: what the network wants done to images that are on its device.
        budget: what each class's module may cost.
        alignment: each segment keeps a multiple of this many channels, or all of them.
        gates: how masks let gradients through.
        epochs: epochs in all.
        images_per_class: drawn anew for each epoch, without repeats; or all that there are.
        batch_size: images a step; each passes through all classes' modules at once, so memory
            grows with ``batch_size * classes``.
        learning_rate: Adam's at the start; it falls to 0 step by step.
        ranking: weight of `ranking_loss` against that of the composed model.
        diversity: weight of Diff, the mean Jaccard distance between modules, against the loss.
        precision: ``bfloat16``, or anything else for the images' own, of the networks' arithmetic;
            losses and slopes of the logits stay in float32.
    """

    network: nn.Module
    plan: SlicingPlan
    images: Tensor
    labels: Tensor
    prepare: Prepare
    budget: Budget
    alignment: int = 1
    gates: GateKind = "straight-through"
    epochs: int = 4
    images_per_class: int = 50
    batch_size: int = 10
    learning_rate: float = 0.03
    ranking: float = 0.0
    diversity: float = 0.0
    precision: str = "float32"

    @property
    def steps(self) -> int:
        """Steps in all."""
        drawn = sum(min(len(own), self.images_per_class) for own in self._by_label)
        return self.epochs * -(-drawn // self.batch_size)

    def start(self, importance: Tensor, generator: torch.Generator) -> GradientState:
        """The first state: logits from -1/2 to 1/2, by rank of importance within a segment.

        Args:
            importance: float (classes, channels).
            generator: on the CPU; its state is copied.

        Raises:
            DataError: if a class has no image.
            ModularizerError: if the budget can't be met.
        """
        for label, own in enumerate(self._by_label):
            if not len(own):
                raise DataError(f"no image of class {label} to learn from; each class needs some")
        logits = torch.empty(importance.shape)
        for segment in self.plan.segments:
            order = importance[:, segment.channels].argsort(dim=1, stable=True)
            logits[:, segment.channels] = (order.argsort(dim=1) + 0.5) / len(segment) - 0.5
        logits = logits.to(self._device)
        self._selector.require_possible(logits, self.budget)
        zeros = torch.zeros_like(logits)
        return GradientState(logits, zeros, zeros, generator.get_state())

    def advance(self, state: GradientState) -> GradientState:
        """The state after another epoch; the given one is left as it is.

        Raises:
            ModularizerError: if the loss is not finite.
        """
        generator = torch.Generator()
        generator.set_state(state.generator)
        drawn = self._draw(generator)
        total = torch.zeros((), device=self._device)
        right = torch.zeros((), device=self._device, dtype=torch.int64)
        after = replace(
            state, passes=state.passes + PASSES_OF_A_STEP * len(drawn) * len(state.mean)
        )
        rate = self.learning_rate
        with frozen(self.network):
            for batch in drawn.split(self.batch_size):
                labels = self.labels[batch].to(self._device)
                images = self.prepare(self.images[batch].to(self._device))
                scores, loss, slope = self._slope(after.logits, images, labels, generator)
                total += loss * len(batch)
                right += (scores.argmax(dim=1) == labels).sum()
                after = _moved(after, slope, rate * max(0.0, 1 - after.step / self.steps))
        mean_loss = float(total) / len(drawn)
        if not torch.isfinite(total):
            raise ModularizerError(
                f"epoch {state.epoch + 1} of the search ends with a loss of {mean_loss}; the "
                "strong model's activations overflow, or its weights are broken"
            )
        return replace(
            after,
            epoch=state.epoch + 1,
            generator=generator.get_state(),
            loss=mean_loss,
            accuracy=int(right) / len(drawn),
        )

    def finish(self, state: GradientState) -> Tensor:
        """The masks that a state stands for: bool (classes, channels), on the CPU."""
        return self._selector.select(state.logits, self.budget).masks.cpu()

    @cached_property
    def _selector(self) -> Selector:
        return Selector(self.plan, alignment=self.alignment, device=self._device)

    @cached_property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    @cached_property
    def _by_label(self) -> tuple[Tensor, ...]:
        return tuple(
            (self.labels == label).nonzero().flatten() for label in range(self.plan.outputs)
        )

    def _draw(self, generator: torch.Generator) -> Tensor:
        """An epoch's images in a random order: int64 (images,)."""
        drawn = [
            own[torch.randperm(len(own), generator=generator)[: self.images_per_class]]
            for own in self._by_label
        ]
        every = torch.cat(drawn)
        return every[torch.randperm(len(every), generator=generator)]

    def _slope(
        self, logits: Tensor, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, the loss, (), and its slope within the budget, (classes, channels)."""
        selection = self._selector.select(logits, self.budget)
        leaf = logits.clone().requires_grad_()
        gates = open_gates(self.gates, leaf, selection, generator)
        with autocast(self._device, self.precision):
            scores = composed_scores(self.network, self.plan, gates, images)
        scores = scores.float()
        loss = F.cross_entropy(scores, labels)
        if self.ranking:
            loss = loss + self.ranking * ranking_loss(scores, labels)
        if self.diversity:
            loss = loss - self.diversity * soft_diff(gates, self.plan.kernels_per_channel)
        (slope,) = torch.autograd.grad(loss, leaf)
        within = within_budget(slope, self.budget.slope(selection.masks))
        return scores.detach(), loss.detach(), within


def composed_scores(network: nn.Module, plan: SlicingPlan, gates: Tensor, images: Tensor) -> Tensor:
    """The composed model's scores, all of its modules run side by side.

    Args:
        network: the whole network.
        plan: its slicing plan.
        gates: float (classes, channels); gradients flow into them.
        images: prepared images, float (N, C, H, W).

    Returns:
        float (N, classes): column n is output n of the network behind row n of the gates.
    """
    rows = len(gates)
    with gated(network, plan, gates):
        scores: Tensor = network(torch.cat([images] * rows))  # keeps their layout, unlike repeat
    composed: Tensor = scores.unflatten(0, (rows, -1)).diagonal(dim1=0, dim2=2)
    return composed


def ranking_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """How badly each module tells images of its class from others by its own score.

    The composed model may be right although a module gives nearly the same score to every image,
    as long as the others' are higher where it should lose; such a module is no patch. For each
    module and each pair of an image of its class and another one: log(1 + exp(other - own)).

    Args:
        scores: float (N, classes): column n is module n's own score.
        labels: int64 (N,).

    Returns:
        (), the mean over the pairs of each class, and over the classes that have any.
    """
    own = F.one_hot(labels, scores.shape[1]).bool()
    above = scores[None, :, :] - scores[:, None, :]  # [i, j, n]: how far j is above i for n
    pairs = own[:, None, :] & ~own[None, :, :]
    counts = pairs.sum(dim=(0, 1))
    sums = torch.where(pairs, F.softplus(above), 0).sum(dim=(0, 1))
    found: Tensor = (sums / counts.clamp_min(1)).sum() / (counts > 0).sum().clamp_min(1)
    return found


def soft_diff(gates: Tensor, weights: Tensor) -> Tensor:
    """Diff of gates, equal to `modularizer.search.diversity.diff` where all are 0 or 1.

    Args:
        gates: float (classes, channels), at least two classes; gradients flow through them.
        weights: int64 (channels,): kernels that each channel stands for.

    Returns:
        (), in [0, 1].
    """
    shared = gates @ (gates * weights.to(gates)).T
    sizes = shared.diagonal()
    union = (sizes[:, None] + sizes[None, :] - shared).clamp_min(1)
    rows, columns = torch.triu_indices(len(gates), len(gates), offset=1, device=gates.device)
    return 1 - (shared / union)[rows, columns].mean()


def within_budget(slope: Tensor, cost: Tensor) -> Tensor:
    """The part of a slope along which no module's cost changes, to first order.

    What a budget of ``cost`` makes of the slope: channels whose gain is what their cost buys on
    average stay where they are. The multiplier is the least-squares one, for each class.

    Args:
        slope: (classes, channels).
        cost: same shape, not all 0 for any class.
    """
    along = F.normalize(cost.to(slope.dtype), dim=1)
    within: Tensor = slope - along * (slope * along).sum(dim=1, keepdim=True)
    return within


def _moved(state: GradientState, slope: Tensor, rate: float) -> GradientState:
    """A step of Adam (Kingma, Ba, 2015)."""
    step = state.step + 1
    mean = state.mean.lerp(slope, 1 - _DECAY[0])
    square = state.square.lerp(slope.square(), 1 - _DECAY[1])
    scale = (square / (1 - _DECAY[1] ** step)).sqrt() + _EPSILON
    logits = state.logits - rate * (mean / (1 - _DECAY[0] ** step)) / scale
    return replace(state, logits=logits, mean=mean, square=square, step=step)
