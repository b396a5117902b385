"""What masks cost in multiply-adds, without decoding a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.rebuild import rebuilt
from modularizer.architectures.shapes_only import ShapesOnly

_WEIGHTED = (nn.Conv2d, nn.Linear)
_ADAPTIVE_POOLS: tuple[Any, ...] = (nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d)
_INTERPOLATIONS = {"nearest": 1, "bilinear": 4}


@dataclass(frozen=True, eq=False)
class MultiplyAdds:
    """Multiply-adds as a function of the channels that are kept.

    A term is an operation of the network. It costs a constant, times the channels that it makes
    and keeps, times those that it takes in and keeps.

    Attributes:
        constants: float64 (terms,).
        makes: float64 (entries, terms): how many of a term's made channels an entry stands for.
        takes: the same for the channels that it takes in.
        outputs: scores of the network.
    """

    constants: Tensor
    makes: Tensor
    takes: Tensor
    outputs: int

    @property
    def whole(self) -> int:
        """Of the whole network, all scores, for one image."""
        return int(self._sum(self.makes.new_ones(1, len(self.makes))))

    def of_class_modules(self, kept: Tensor) -> Tensor:
        """Of each class's module, its one score, for one image.

        Exact: equal to fvcore's count of the decoded network. Gates between 0 and 1 count in
        part, and gradients flow through them.

        Args:
            kept: bool or float (outputs, channels): a mask, or gates, for each class.

        Returns:
            float64 (outputs,).
        """
        scores = torch.eye(self.outputs, dtype=torch.float64, device=kept.device)
        always = scores.new_ones(self.outputs, 1)
        return self._sum(torch.cat([kept.double(), always, scores], dim=1))

    def _sum(self, alive: Tensor) -> Tensor:
        total: Tensor = ((alive @ self.makes) * (alive @ self.takes)) @ self.constants
        return total

    def to(self, device: torch.device) -> MultiplyAdds:
        """The same on another device."""
        tensors = (self.constants.to(device), self.makes.to(device), self.takes.to(device))
        return MultiplyAdds(*tensors, self.outputs)


def multiply_adds_model(
    network: nn.Module, plan: SlicingPlan, input_shape: Sequence[int]
) -> MultiplyAdds:
    """Find out what each operation costs, by one walk over shapes; nothing is run.

    Counts what fvcore counts: convolutions, linear layers, norms, adaptive means and nearest or
    bilinear interpolation. It says nothing of memory traffic or time.

    Args:
        network: the whole network.
        plan: its slicing plan.
        input_shape: (channels, height, width) of its input.
    """
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    on_meta = rebuilt(network, {name: tensor.to("meta") for name, tensor in tensors.items()})
    dtype = next((p.dtype for p in on_meta.parameters()), None)
    walk = _Walk(fx.GraphModule(on_meta.eval(), plan.graph), plan)
    with ShapesOnly():
        walk.run(torch.empty((1, *input_shape), device="meta", dtype=dtype))
    constants, makes, takes = zip(*walk.terms, strict=True)
    return MultiplyAdds(
        torch.tensor(constants, dtype=torch.float64),
        torch.stack(makes, dim=1),
        torch.stack(takes, dim=1),
        plan.outputs,
    )


class _Walk(fx.Interpreter):
    """Runs the graph on shapes and notes a term for each operation that counts."""

    def __init__(self, module: fx.GraphModule, plan: SlicingPlan) -> None:
        super().__init__(module)
        self.plan = plan
        self.terms: list[tuple[float, Tensor, Tensor]] = []
        self.once = self._counted(torch.tensor([plan.channels]))

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        layer = self.module.get_submodule(str(n.target)) if n.op == "call_module" else None
        if isinstance(layer, _WEIGHTED):
            made, taken = (self._along_weight(n, dim) for dim in (0, 1))
            positions = value.numel() // layer.weight.shape[0]
            kernel = layer.weight[0, 0].numel()
            self.terms.append((positions * kernel, made, taken))
        elif n.name in self.plan.worked_on:
            channels = self.plan.worked_on[n.name]
            each = _of_input(n, layer) * self.env[n.all_input_nodes[0]].numel()
            each += _of_output(n, layer) * value.numel()
            self.terms.append((each / len(channels), self._counted(channels), self.once))
        return value

    def _along_weight(self, node: fx.Node, dim: int) -> Tensor:
        name = f"{node.target}.weight"
        entries = self.plan.entries[name].get(dim)
        if entries is not None:
            return self._counted(entries)
        size: int = self.module.get_parameter(name).shape[dim]
        return self.once * size

    def _counted(self, entries: Tensor) -> Tensor:
        size = self.plan.channels + 1 + self.plan.outputs
        counts: Tensor = torch.bincount(entries, minlength=size)
        return counts.double()


def _of_input(node: fx.Node, layer: nn.Module | None) -> int:
    """What a norm or an adaptive mean costs for each value of its input."""
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return 2 if layer.affine else 1
    if isinstance(layer, nn.InstanceNorm2d | nn.GroupNorm | nn.LayerNorm):
        return 4 if layer.weight is None else 5
    if node.target in (F.layer_norm, F.group_norm):
        return 4 if _argument(node, 2, "weight") is None else 5
    return int((node.target if layer is None else type(layer)) in _ADAPTIVE_POOLS)


def _of_output(node: fx.Node, layer: nn.Module | None) -> int:
    """What an interpolation costs for each value that it gives."""
    if isinstance(layer, nn.Upsample):
        return _INTERPOLATIONS.get(layer.mode, 0)
    if node.target is F.interpolate:
        return _INTERPOLATIONS.get(_argument(node, 3, "mode") or "nearest", 0)
    return 0


def _argument(node: fx.Node, position: int, name: str) -> Any:
    return node.args[position] if position < len(node.args) else node.kwargs.get(name)
