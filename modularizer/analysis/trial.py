"""Trying a plan before it is given: one mask, and a walk through what it leaves."""

from __future__ import annotations

from collections.abc import Callable

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


def require_following(
    plan: SlicingPlan,
    network: nn.Module,
    image: Tensor,
    walk: Walk,
    findings: Collected,
    trace: Callable[[nn.Module], fx.Graph],
) -> None:
    """Slice the network by a mask without pattern, and see that its code follows.

    The sliced network's code is traced anew where it runs as it is, so that sizes that it reads
    from layers are seen as they will be.

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
    draws = torch.rand(2, plan.channels, generator=torch.Generator().manual_seed(0))
    kept = keeping_each_layer(draws[0] < 0.6, draws[1], plan)
    alive = plan.alive(kept, output=None)
    smaller = sliced(network, plan, alive)
    graph = trace(smaller) if plan.template is None else plan.template.graph
    assert isinstance(graph, fx.Graph)
    if plan.template is None:
        _require_same_way(plan.graph, graph)
    again = Walk(fx.GraphModule(smaller, graph), _expected(plan, alive, findings))
    try:
        output = again.run(image)
        _require_same_numbers(walk, again)
    except PlanError as error:
        raise PlanError(_REASON.format(error)) from error
    assert isinstance(output, Traced)
    expected = torch.arange(plan.outputs) + plan.channels + 1
    if not torch.equal(output.ids[0], expected):
        raise PlanError(_REASON.format("scores change places"))


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
        decisions=findings.decisions,
    )


def _require_same_way(before: fx.Graph, after: fx.Graph) -> None:
    pairs = zip(before.nodes, after.nodes, strict=False)
    for one, other in pairs:
        if (one.op, str(one.target), one.name) != (other.op, str(other.target), other.name):
            raise PlanError(_REASON.format(f"its code takes another way at {one.name}"))
    if len(before.nodes) != len(after.nodes):
        raise PlanError(_REASON.format("its code takes another way"))


def _require_same_numbers(before: Walk, after: Walk) -> None:
    for node, numbers in after.numbers.items():
        if numbers != before.numbers.get(node, numbers):
            raise PlanError(f"{node} computes with {numbers} in place of {before.numbers[node]}")
