"""Whether the paper's figures go together, and what they say of where the kernels lie."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import torch

from benchmarks.cost.reference import CLASSES, network_of
from benchmarks.networks import plan_of
from benchmarks.paper.published import MODULE_MEANS, MODULES, NETWORKS, module_shares
from modularizer.analysis.multiply_adds import multiply_adds_model
from modularizer.cost import count_cost

_WIDEST = 512
_STEPS = 60
_ROUNDED_TO = {"kernels": 1, "parameters": 1, "multiply_adds": 10_000}
_MEANS_ROUNDED_TO = {"kernels": 0.0001, "multiply_adds": 0.001}


def check_published() -> list[dict[str, Any]]:
    """Hold the paper's totals against our count, and its means against its own figures.

    Returns:
        Rows with ``name``, ``published``, ``found`` and whether both agree within the digits
        that are published. JSON values.
    """
    rows = []
    for name in NETWORKS:
        network = network_of(f"{name}-cifar")
        cost = count_cost(network.network, network.preprocessing)
        for count, published in NETWORKS[name].items():
            row = f"{name}, ten classes: {count}"
            rows.append(_compared(row, published, getattr(cost, count), _ROUNDED_TO[count]))
    for count, mean in MODULE_MEANS.items():
        found = fmean(module_shares(suite)[count] for suite in MODULES)
        name = f"mean module's share of the {count}, four decompositions"
        rows.append(_compared(name, mean, found, _MEANS_ROUNDED_TO[count]))
    return rows


def implied_by_published() -> list[dict[str, Any]]:
    """What the paper's figures of a decomposition amount to.

    Returns:
        Rows with ``name``; ``kernels_share`` and ``multiply_adds_share`` of a class module;
        ``composed_multiply_adds_share``, of all modules side by side;
        ``evenly_kept_multiply_adds_share``, a module's if each layer kept the same share of its
        kernels; ``early_kept`` and ``late_kept``, the shares of the layers before those of 512
        kernels and of the others by which exactly the published kernels and multiply-adds come
        out (None if none do). JSON values.
    """
    return [_implied(suite) for suite in MODULES]


def _implied(suite: str) -> dict[str, Any]:
    shares, where = module_shares(suite), _Spread(suite)
    early, late = where.that_costs(MODULES[suite]["multiply_adds"])
    whole = NETWORKS[suite.split("-")[0]]["multiply_adds"]
    return {
        "name": suite,
        "kernels_share": shares["kernels"],
        "multiply_adds_share": shares["multiply_adds"],
        "composed_multiply_adds_share": shares["multiply_adds"] * where.classes,
        "evenly_kept_multiply_adds_share": where.cost(shares["kernels"]) / whole,
        "early_kept": early,
        "late_kept": late,
    }


class _Spread:
    """The published number of kernels, kept in one share by early and in another by late layers."""

    def __init__(self, suite: str) -> None:
        network = network_of(suite)
        plan = plan_of(network)
        self.classes = CLASSES[suite.split("-")[1]]
        self._model = multiply_adds_model(network.network, plan, (3, *network.preprocessing.size))
        self._is_early = torch.zeros(plan.channels, dtype=torch.bool)
        for segment in plan.segments:
            self._is_early[segment.channels] = len(segment) < _WIDEST
        self._early = int(plan.kernels_per_channel[self._is_early].sum())
        self._late = plan.kernels - self._early
        self._kernels = MODULES[suite]["kernels"]
        self._evenly = self._kernels / plan.kernels

    def late_share(self, early: float) -> float:
        """What late layers keep, in [0, 1], so that the number is the published one."""
        return (self._kernels - early * self._early) / self._late

    def cost(self, early: float) -> float:
        """Multiply-adds of a module; gates count in part."""
        gates = torch.full(self._is_early.shape, self.late_share(early), dtype=torch.float64)
        gates[self._is_early] = early
        return float(self._model.of_class_modules(gates.expand(self.classes, -1))[0])

    def that_costs(self, multiply_adds: float) -> tuple[float | None, float | None]:
        """The shares of early and late layers; the more early layers keep, the more it costs."""
        low, high = self._evenly, 1.0
        if not self.cost(low) <= multiply_adds <= self.cost(high):
            return None, None
        for _ in range(_STEPS):
            middle = (low + high) / 2
            low, high = (low, middle) if self.cost(middle) > multiply_adds else (middle, high)
        return low, self.late_share(low)


def _compared(name: str, published: float, found: float, rounded_to: float) -> dict[str, Any]:
    agrees = abs(found - published) <= rounded_to / 2
    return {"name": name, "published": published, "found": found, "agrees": agrees}
