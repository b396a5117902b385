"""Trying a plan before it is given: some masks, and a walk through what each leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from modularizer.analysis.channel_ids import Traced
from modularizer.analysis.findings import Collected, Compared
from modularizer.analysis.keeping import keeping_each_layer
from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.slicing import sliced
from modularizer.analysis.walk import Walk
from modularizer.errors import PlanError

_REASON = (
    "once kernels are removed, {}. A size written into the network's code (a view to a fixed "
    "width) can't follow the slicing"
)
_REASON_FOR_ONE_SCORE = (
    "once a single score is kept, {}. A class module leaves out all scores but its own; let one "
    "layer make them all"
)


def require_following(
    plan: SlicingPlan,
    network: nn.Module,
    image: Tensor,
    walk: Walk,
    findings: Collected,
    trace: Callable[[nn.Module], fx.Graph],
) -> None:
    """Slice the network in several ways, and see that its code follows.

    By masks without pattern, so many that each channel that can be removed is removed by one of
    them; and once with all scores, then with a single score of each layer that makes scores. The
    sliced network's code is traced anew where it runs as it is, so that sizes that it reads from
    layers are seen as they will be.

    Args:
        plan: the plan to try.
        network: the whole network, on ``meta``.
        image: its input, on ``meta``, (1, C, H, W).
        walk: the walk through the whole network.
        findings: what that found.
        trace: gives a network's graph.

    Raises:
        PlanError: if the sliced network can't run, takes another way, computes with other
            numbers, or lets channels meet that didn't.
    """
    if not plan.channels:
        return
    trial = _Trial(plan, network, image, walk, findings, trace)
    masks, outputs = masks_removing_each(plan), [None, *_outputs_to_try(plan)]
    for turn in range(max(len(masks), len(outputs))):
        output = outputs[turn] if turn < len(outputs) else None
        trial.run(masks[turn % len(masks)], output)


def masks_removing_each(plan: SlicingPlan) -> list[Tensor]:
    """Masks without pattern, each bool (channels,), such that each channel is removed by one.

    Channels that no mask may remove, because a layer has no other, are left out. It takes two
    masks, or three where the first ones have a layer left as a whole. Segments of the same
    width keep different numbers of channels, so that they are not taken for one another.
    """
    draws = torch.rand(2, plan.channels, generator=torch.Generator().manual_seed(0))
    draws[0, [segment.start for segment in plan.segments]] = 1  # code by number breaks there first
    first = torch.zeros(plan.channels, dtype=torch.bool)
    alike: Counter[int] = Counter()
    for segment in plan.segments:
        width = len(segment)
        count = 1 + (round(0.7 * width) - 1 + alike[width]) % max(width - 1, 1)
        alike[width] += 1
        first[segment.start + draws[0, segment.channels].argsort()[:count]] = True
    masks = [keeping_each_layer(first, draws[1], plan)]
    missing = masks[0]
    while missing.any():
        removed = missing.logical_not().float()  # what was removed before is put back first
        masks.append(keeping_each_layer(~missing, removed, plan))
        still = missing & masks[-1]
        if torch.equal(still, missing):
            return masks[:-1]
        missing = still
    return masks


def _outputs_to_try(plan: SlicingPlan) -> list[int]:
    """One output of each layer that makes outputs, the last one that no other layer makes."""
    found: dict[int, None] = {}
    for by_dim in plan.entries.values():
        made = by_dim.get(0, torch.empty(0, dtype=torch.int64))
        outputs = (made[made > plan.channels] - plan.channels - 1).tolist()
        if outputs and not found.keys() & set(outputs):
            found[outputs[-1]] = None
    return list(found)


@dataclass(frozen=True)
class _Trial:
    plan: SlicingPlan
    network: nn.Module
    image: Tensor
    walk: Walk
    findings: Collected
    trace: Callable[[nn.Module], fx.Graph]

    def run(self, kept: Tensor, output: int | None) -> None:
        """Slice by a mask; where that fails for one score alone, the reason says so."""
        try:
            self._follow(self.plan.alive(kept, output), output)
        except PlanError as error:
            if output is not None:
                self.run(kept, None)
                raise PlanError(_REASON_FOR_ONE_SCORE.format(error)) from error
            raise PlanError(_REASON.format(error)) from error

    def _follow(self, alive: Tensor, output: int | None) -> None:
        plan = self.plan
        self._require_kernels(alive)
        smaller = sliced(self.network, plan, alive)
        graph = self.trace(smaller) if plan.template is None else plan.template.graph
        assert isinstance(graph, fx.Graph)
        if plan.template is None:
            _require_same_way(plan.graph, graph)
        again = Walk(fx.GraphModule(smaller, graph), _expected(plan, alive, self.findings))
        scores = again.run(self.image)
        _require_same_numbers(self.walk, again)
        assert isinstance(scores, Traced)
        kept = torch.arange(plan.outputs) if output is None else torch.tensor([output])
        if scores.ids.ndim != 2 or not torch.equal(scores.ids[0], plan.channels + 1 + kept):
            raise PlanError("scores change places")

    def _require_kernels(self, alive: Tensor) -> None:
        for name, layer in self.network.named_modules():
            made = self.plan.entries.get(f"{name}.weight", {}).get(0)
            if isinstance(layer, nn.Conv2d) and made is not None and not alive[made].any():
                raise PlanError(f"{name} (Conv2d) has no kernel left: it makes other scores alone")


def _expected(plan: SlicingPlan, alive: Tensor, findings: Collected) -> Compared:
    def left(entries: Tensor) -> Tensor:
        return entries[alive[entries]]

    return Compared(
        always=plan.channels,
        entries={
            name: {dim: left(entries) for dim, entries in by_dim.items()}
            for name, by_dim in plan.entries.items()
        },
        consumers={name: left(entries) for name, entries in plan.consumers.items()},
        normalised={name: left(entries) for name, entries in plan.normalised.items()},
        decisions=findings.decisions,
    )


def _require_same_way(before: fx.Graph, after: fx.Graph) -> None:
    pairs = zip(before.nodes, after.nodes, strict=False)
    for one, other in pairs:
        if (one.op, str(one.target), one.name) != (other.op, str(other.target), other.name):
            raise PlanError(f"its code takes another way at {one.name}")
    if len(before.nodes) != len(after.nodes):
        raise PlanError("its code takes another way")


def _require_same_numbers(before: Walk, after: Walk) -> None:
    for node, numbers in after.numbers.items():
        if numbers != before.numbers.get(node, numbers):
            raise PlanError(f"{node} computes with {numbers} in place of {before.numbers[node]}")
