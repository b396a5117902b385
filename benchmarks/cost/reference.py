"""The paper's networks with random weights, taken apart by random masks of the paper's size."""

from __future__ import annotations

from benchmarks.cost.counting import Counted, counted
from benchmarks.cost.masks import random_mask_of
from benchmarks.cost.rows import STRONG, TakenApart
from benchmarks.cost.settings import CostSettings
from benchmarks.networks import module_by_mask, plan_of, random_classifier
from benchmarks.paper.published import MODULES, module_shares
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.classifier import Classifier

CLASSES = {"cifar": 10, "svhn": 5}
"""How many classes the paper's decompositions have."""

_SIDE = 32


def reference_networks(settings: CostSettings) -> list[TakenApart]:
    """Count each of the paper's four decompositions, with masks that were not searched for."""
    return [_reference(suite, settings) for suite in MODULES]


def network_of(suite: str, width: float = 1.0) -> Classifier:
    """The strong network of one of the paper's decompositions, with random weights.

    Args:
        suite: a key of `MODULES`.
        width: as a share of the paper's.
    """
    name, data = suite.split("-")
    arguments = {"num_classes": CLASSES[data], "width_multiplier": width}
    return random_classifier(ArchitectureSpec(name=name, arguments=arguments), side=_SIDE, seed=0)


def _reference(suite: str, settings: CostSettings) -> TakenApart:
    strong = network_of(suite, settings.width)
    whole = counted(STRONG, strong)
    kernels = round(module_shares(suite)["kernels"] * whole.kernels)
    return TakenApart(
        name=suite,
        masks=f"random, each with {kernels:,} kernels",
        strong=whole,
        modules=tuple(_random_modules(strong, kernels, settings.seed)),
        suite=suite,
    )


def _random_modules(strong: Classifier, kernels: int, seed: int) -> list[Counted]:
    plan = plan_of(strong)
    found = []
    for output, name in enumerate(strong.class_names):
        kept = random_mask_of(plan, kernels, seed + output)
        found.append(counted(name, module_by_mask(strong, plan, kept, output)))
    return found
