"""From a score a channel to masks that meet a budget and an alignment exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from modularizer.analysis.multiply_adds import MultiplyAdds
from modularizer.analysis.plan import SlicingPlan
from modularizer.errors import ModularizerError

Cost = Callable[[Tensor], Tensor]
"""What each class's module costs, float64 (classes,): of masks, bool (classes, channels), or of
gates of the same shape; gradients flow through these."""


@dataclass(frozen=True, eq=False)
class Budget:
    """What each class's module may cost.

    Attributes:
        cost: in any unit; grows with every channel that is kept.
        most: the highest cost allowed.
        whole: the cost of the whole network.
    """

    cost: Cost
    most: float
    whole: float

    def slope(self, masks: Tensor) -> Tensor:
        """What opening each channel a little further costs: float64, shape of the masks."""
        gates = masks.double().requires_grad_()
        (slope,) = torch.autograd.grad(self.cost(gates).sum(), gates)
        return slope


def kernel_budget(plan: SlicingPlan, share: float, device: torch.device) -> Budget:
    """At most this share of the network's kernels, in (0, 1], for each class."""
    each = plan.kernels_per_channel.to(device, torch.float64)

    def kernels_kept(gates: Tensor) -> Tensor:
        return plan.module_kernels - (1 - gates.double()) @ each

    return Budget(kernels_kept, share * plan.kernels, plan.kernels)


def multiply_add_budget(model: MultiplyAdds, share: float, device: torch.device) -> Budget:
    """At most this share of the network's multiply-adds, in (0, 1], for each class."""
    return Budget(model.to(device).of_class_modules, share * model.whole, model.whole)


@dataclass(frozen=True, eq=False)
class Selection:
    """The best channels that a budget allows.

    Attributes:
        masks: bool (classes, channels).
        bar: (classes,), dtype of the scores: halfway between the lowest score taken and the next
            one; of several channels taken at once the mean counts.
    """

    masks: Tensor
    bar: Tensor


class Selector:
    """Picks channels by score: as many as a budget allows, in blocks that keep widths aligned.

    Blocks of ``alignment`` channels, best first, are cut from each segment; its last block is
    what remains. So a segment keeps a multiple of ``alignment``, or all. Of each layer the best
    channel is always kept, with its block.

    Args:
        plan: the slicing plan.
        alignment: channels a block, at least 1.
        device: where the scores will be.
    """

    def __init__(self, plan: SlicingPlan, *, alignment: int, device: torch.device) -> None:
        self.plan = plan
        needed = [
            *(torch.arange(segment.start, segment.stop) for segment in plan.segments),
            *plan.layer_channels.values(),
        ]
        self.layers = [channels.to(device) for channels in needed]
        block_of_rank, start = [], 0
        for segment in plan.segments:
            block_of_rank.append(start + torch.arange(len(segment)) // alignment)
            start = int(block_of_rank[-1][-1]) + 1
        self.block_of_rank = torch.cat(block_of_rank).to(device)
        self.size = torch.bincount(self.block_of_rank, minlength=start)

    def select(self, scores: Tensor, budget: Budget) -> Selection:
        """Take blocks, the highest mean score first, for as long as the budget allows.

        Args:
            scores: float (classes, channels), finite.
            budget: for each class.

        Returns:
            Masks that cost at most ``budget.most``, or one block a layer if that costs more
            (see `require_possible`); with the next block they would cost more.
        """
        needed = self._needed(scores)
        block = self._blocks(scores, needed)
        total = scores.new_zeros(len(scores), len(self.size)).scatter_add_(1, block, scores)
        mean = total / self.size
        first = torch.zeros_like(mean).scatter_add_(1, block, needed.to(mean.dtype)) > 0
        order = mean.masked_fill(first, torch.inf).argsort(dim=1, descending=True, stable=True)
        rank = order.argsort(dim=1).gather(1, block)
        taken = self._most(rank, first.sum(dim=1), budget)
        ranked = mean.gather(1, order)
        last = ranked.gather(1, taken[:, None] - 1)
        following = ranked.gather(1, taken[:, None].clamp(max=ranked.shape[1] - 1))
        return Selection(rank < taken[:, None], (last + following)[:, 0] / 2)

    def require_possible(self, scores: Tensor, budget: Budget) -> None:
        """Raise if even the narrowest masks cost more than the budget allows.

        Raises:
            ModularizerError: if one block of each layer costs more.
        """
        least = float(budget.cost(self.select(scores, budget).masks).max())
        if least > budget.most:
            raise ModularizerError(
                f"a budget of {budget.most / budget.whole:.4g} of the network can't be met: one "
                f"block of each layer costs {least / budget.whole:.4g}; raise the budget or lower "
                "the alignment"
            )

    def _needed(self, scores: Tensor) -> Tensor:
        """The best channel of each layer: bool (classes, channels)."""
        needed = torch.zeros_like(scores, dtype=torch.bool)
        for channels in self.layers:
            best = channels[scores[:, channels].argmax(dim=1)]
            needed.scatter_(1, best[:, None], True)
        return needed

    def _blocks(self, scores: Tensor, needed: Tensor) -> Tensor:
        """The block of each channel: int64 (classes, channels)."""
        keys = scores.masked_fill(needed, torch.inf)
        blocks = torch.empty_like(scores, dtype=torch.int64)
        for segment in self.plan.segments:
            order = keys[:, segment.channels].argsort(dim=1, descending=True, stable=True)
            of_rank = self.block_of_rank[segment.channels].expand_as(order)
            blocks[:, segment.channels] = torch.empty_like(order).scatter_(1, order, of_rank)
        return blocks

    def _most(self, rank: Tensor, fewest: Tensor, budget: Budget) -> Tensor:
        """How many blocks can be taken, by bisection: int64 (classes,)."""
        low, high = fewest, torch.full_like(fewest, len(self.size))
        for _ in range(len(self.size).bit_length()):
            middle = (low + high + 1) // 2
            fits = budget.cost(rank < middle[:, None]) <= budget.most
            low, high = torch.where(fits, middle, low), torch.where(fits, high, middle - 1)
            high = torch.maximum(low, high)
        return low
