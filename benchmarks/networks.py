"""Networks with random weights, of a given size: time does not depend on what the weights are."""

from __future__ import annotations

import torch

from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.decode import decode
from modularizer.classifier import Classifier
from modularizer.preprocessing import Preprocessing


def random_classifier(architecture: ArchitectureSpec, *, side: int, seed: int) -> Classifier:
    """A network with random weights, for classes called ``class 0`` and so on.

    Args:
        architecture: its arguments name ``num_classes``.
        side: height and width of its input in pixels; three channels.
        seed: of the weights.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(architecture).eval()
    return Classifier(
        network,
        architecture=architecture,
        preprocessing=Preprocessing(
            size=(side, side), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3
        ),
        class_names=tuple(f"class {n}" for n in range(architecture.arguments["num_classes"])),
    ).eval()


def plan_of(strong: Classifier) -> SlicingPlan:
    """How a classifier can be sliced."""
    preprocessing = strong.preprocessing
    return slicing_plan(strong.network, (preprocessing.channels, *preprocessing.size))


def random_module(
    strong: Classifier,
    output: int,
    *,
    kept_share: float = 0.6,
    seed: int = 0,
    align: int = 1,
    plan: SlicingPlan | None = None,
) -> ClassModule:
    """A class module of a classifier, by a random mask.

    Args:
        strong: which.
        output: the class's place.
        kept_share: of the kernels of each layer, about.
        seed: of the mask.
        align: each layer keeps a multiple of so many kernels, if it has as many.
        plan: how the classifier can be sliced, if that is known.
    """
    plan = plan or plan_of(strong)
    kept = random_mask(plan, kept_share, seed, align=align)
    return module_by_mask(strong, plan, kept, output)


def whole_module(strong: Classifier, output: int) -> ClassModule:
    """A class module that keeps all kernels of a classifier."""
    plan = plan_of(strong)
    kept = torch.ones(plan.channels, dtype=torch.bool)
    return module_by_mask(strong, plan, kept, output)


def module_by_mask(
    strong: Classifier, plan: SlicingPlan, kept: torch.Tensor, output: int
) -> ClassModule:
    """A class module of a classifier, by a mask of one's own.

    Args:
        strong: which.
        plan: how it is sliced.
        kept: bool (plan.channels,).
        output: the class's place.
    """
    return ClassModule(
        decode(strong.network, plan, kept, output=output),
        architecture=strong.architecture,
        kept=kept,
        output=output,
        class_name=strong.class_names[output],
        preprocessing=strong.preprocessing,
    ).eval()


def random_mask(plan: SlicingPlan, kept_share: float, seed: int, *, align: int = 1) -> torch.Tensor:
    """Which channels stay, bool (plan.channels,): a random share of each segment, at least one."""
    generator = torch.Generator().manual_seed(seed)
    kept = torch.zeros(plan.channels, dtype=torch.bool)
    for segment in plan.segments:
        stays = max(align, align * round(len(segment) * kept_share / align))
        order = torch.randperm(len(segment), generator=generator)[:stays]  # all, if there are fewer
        kept[segment.start + order] = True
    return kept
