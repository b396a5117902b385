"""How much each channel has to do with each class (section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from modularizer.analysis.plan import SlicingPlan
from modularizer.classifier import inference
from modularizer.progress import Progress, ProgressCallback, ignore_progress


def importance(
    network: nn.Module,
    plan: SlicingPlan,
    images: Sequence[Iterable[Tensor]],
    *,
    progress: ProgressCallback = ignore_progress,
) -> Tensor:
    """Mean over images of the sum of each channel's feature map, class by class.

    Feature maps are read after the activation, and after the last addition where layers are
    coupled, as in the published code; the paper leaves both open.

    Args:
        network: the whole network.
        plan: its slicing plan.
        images: for each class batches of its training images, prepared: float (m, C, H, W).
        progress: told after each class.

    Returns:
        float64 (classes, plan.channels).
    """
    observer = _Observer(network, plan)
    rows = []
    with inference(network):
        for done, of_class in enumerate(images, start=1):
            observer.total = torch.zeros(plan.channels + 1, dtype=torch.float64)
            count = 0
            for batch in of_class:
                observer.run(batch)
                count += len(batch)
            rows.append(observer.total[:-1] / count)  # the last: read elsewhere
            progress(Progress("importance", done, len(images)))
    return torch.stack(rows)


class _Observer(fx.Interpreter):
    """Runs the network and adds up feature maps where the plan says that they are read."""

    def __init__(self, network: nn.Module, plan: SlicingPlan) -> None:
        super().__init__(fx.GraphModule(network, plan.graph))
        self.observations = plan.observations
        self.total = torch.zeros(plan.channels + 1, dtype=torch.float64)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self.observations:
            sums = value.sum(dim=(0, 2, 3), dtype=torch.float64).cpu()
            self.total.index_add_(0, self.observations[n.name], sums)
        return value
