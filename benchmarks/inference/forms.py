"""One network in the forms in which a CPU could run it: what packing brings, step by step."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from modularizer.classifier import ImageNetwork, channels_outermost, inference
from serving.engine.packing import PackedConv2d, pack

UNPACKED = "unpacked"
"""By torch as it is, on images whose channels are innermost: what the others are compared with."""

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Formed:
    """A network in some form.

    Attributes:
        run: prepared images, channels innermost, to scores.
    """

    run: Run


def forms_of(*, compiled: bool) -> dict[str, Callable[[ImageNetwork], Formed]]:
    """Every form by name; each is made of a network with ``features`` and ``classifier``.

    Args:
        compiled: whether those are among them that a C++ compiler makes.
    """
    return _MADE | _COMPILED if compiled else _MADE


def _unpacked(one: ImageNetwork) -> Formed:
    return Formed(deepcopy(one.network))


def _outermost(one: ImageNetwork) -> Formed:
    """On images whose channels are outermost, as torch has them by itself."""
    network = deepcopy(one.network)
    return Formed(lambda x: network(channels_outermost(x)))


def _weights_innermost(one: ImageNetwork) -> Formed:
    """Weights, too, have their channels innermost."""
    return Formed(deepcopy(one.network).to(memory_format=torch.channels_last))


def _onednn_tensors(one: ImageNetwork) -> Formed:
    """Whatever lies between the convolutions has oneDNN's own layout."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is written in TorchScript, which warns that it will go
        from torch.utils.mkldnn import to_mkldnn

    network: Any = deepcopy(one.network)
    features, head = to_mkldnn(network.features), network.classifier
    return Formed(lambda x: head(features(x.to_mkldnn()).to_dense().flatten(1)))


def _packed(one: ImageNetwork) -> Formed:
    """What the service runs."""
    packed = deepcopy(one)
    assert pack(packed)
    return Formed(packed.network)


def _packed_without_relu(one: ImageNetwork) -> Formed:
    """Each ReLU is an operation of its own."""
    formed = _packed(one)
    assert isinstance(formed.run, fx.GraphModule)
    for layer in formed.run.modules():
        if isinstance(layer, PackedConv2d):
            layer.then = "none"
    for node in formed.run.graph.nodes:
        if node.op == "call_module" and str(node.target).startswith("packed_"):
            with formed.run.graph.inserting_after(node):
                relu = formed.run.graph.call_function(F.relu_, (node,))
            node.replace_all_uses_with(relu)
            relu.args = (node,)
    formed.run.recompile()
    return formed


class _PackedLinear(nn.Module):
    """A linear layer whose weights lie as oneDNN reads them."""

    weight: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
        self.register_buffer("weight", weight, persistent=False)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, "none", [], ""
        )
        return found


def _packed_linear(one: ImageNetwork) -> Formed:
    """Linear layers are packed, too."""
    formed = _packed(one)
    assert isinstance(formed.run, fx.GraphModule)
    for name, layer in list(formed.run.named_modules()):
        if isinstance(layer, nn.Linear):
            formed.run.set_submodule(name, _PackedLinear(layer))
    return formed


def _compiled(one: ImageNetwork) -> Formed:
    """By ``torch.compile``."""
    return Formed(compiled(deepcopy(one.network)))


def _compiled_frozen(one: ImageNetwork) -> Formed:
    """By ``torch.compile``, with weights that are taken to stay, and so laid out once."""
    with inference(one):
        network = deepcopy(one.network).eval().requires_grad_(requires_grad=False)
        return Formed(compiled(network, freezing=True))


def compiled(run: Any, **options: Any) -> Any:
    """What ``torch.compile`` makes of something, for each batch size anew and always in whole.

    By itself it goes back to what was there, with a warning, when one function was compiled for
    more than eight cases: all networks of a kind are one function.

    Args:
        run: a network, or a function of a tensor.
        options: of the compiler.
    """
    import torch._dynamo

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 1024)
    return torch.compile(run, dynamic=False, fullgraph=True, options=options or None)


_MADE: dict[str, Callable[[ImageNetwork], Formed]] = {
    UNPACKED: _unpacked,
    "channels_outermost": _outermost,
    "weights_innermost": _weights_innermost,
    "onednn_tensors": _onednn_tensors,
    "packed": _packed,
    "packed_without_relu": _packed_without_relu,
    "packed_linear": _packed_linear,
}

_COMPILED: dict[str, Callable[[ImageNetwork], Formed]] = {
    "compiled": _compiled,
    "compiled_frozen": _compiled_frozen,
}
