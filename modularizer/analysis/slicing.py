"""Cutting a network's tensors down to what stays."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.rebuild import rebuilt


def sliced(network: nn.Module, plan: SlicingPlan, alive: Tensor) -> nn.Module:
    """A network with the entries that stay, its tensors copies that need no gradient.

    Args:
        network: the whole network, on any device; left as it is.
        plan: its slicing plan.
        alive: bool (channels + 1 + outputs,): which entries stay (`SlicingPlan.alive`).
    """
    positions: dict[int, Tensor | None] = {}  # entries are shared between tensors: look up once
    tensors: dict[str, Tensor] = {}
    device = torch.device("cpu")
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            cut = tensor.detach()
            device = cut.device
            for dim, entries in plan.entries.get(name, {}).items():
                key = id(entries)
                if key not in positions:
                    stays = alive[entries]
                    positions[key] = None if bool(stays.all()) else stays.nonzero().flatten()
                if (index := positions[key]) is not None:
                    cut = cut.index_select(dim, index.to(device))
            tensors[name] = cut.clone() if cut.data_ptr() == tensor.data_ptr() else cut
        if plan.template is None:
            return _counting(rebuilt(network, tensors), plan, alive)
        for name, selection in plan.selections.items():
            index = selection.index(alive)
            tensors[f"{name}.index"] = index if device.type == "meta" else index.to(device)
        return _counting(rebuilt(plan.template, tensors), plan, alive)


def _counting(smaller: nn.Module, plan: SlicingPlan, alive: Tensor) -> nn.Module:
    """Let instance norms without tensors know how many channels there are."""
    for name, entries in plan.normalised.items():
        layer = smaller.get_submodule(name)
        assert isinstance(layer, nn.InstanceNorm2d)
        layer.num_features = int(alive[entries].sum())
    return smaller
