"""Where a network selects or shuffles channels: one layer in place of the code that does it."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping

import torch.nn.functional as F
from torch import Tensor, fx, nn

from modularizer.analysis.plan import Selection
from modularizer.errors import PlanError


class Select(nn.Module):
    """Takes some of its input's channels, in a given order.

    Args:
        index: int64 (selected,): positions along dimension 1.
    """

    index: Tensor

    def __init__(self, index: Tensor) -> None:
        super().__init__()
        self.register_buffer("index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) to (N, selected, ...)."""
        return x.index_select(1, self.index.to(x.device))


def template_of(
    network: nn.Module, graph: fx.Graph, selections: Mapping[str, tuple[str, Selection]]
) -> tuple[nn.Module | None, dict[str, Selection]]:
    """The network with `Select` layers, where its own code would cut sliced channels wrongly.

    Code that cuts channels in half, or shuffles two halves, counts on how many there are. A
    layer that knows which channels are meant does not.

    Args:
        network: on ``meta``.
        graph: its graph; left as it is.
        selections: node -> the node whose channels it gives some of, and which.

    Returns:
        The network with these layers and their names; None where there is nothing to replace.
    """
    if not selections:
        return None, {}
    modules: dict[str, nn.Module] = {}
    new = fx.Graph()
    nodes: dict[fx.Node, fx.Node] = {}
    by_name: dict[str, fx.Node] = {}
    for node in graph.nodes:
        if node.name in selections:
            source, selection = selections[node.name]
            name = f"select_{node.name}"
            modules[name] = Select(selection.chosen)
            copied = new.call_module(name, (by_name[source],))
        else:
            copied = new.node_copy(node, lambda old: nodes[old])
            _let_shape_follow(new, copied)
        nodes[node] = by_name[node.name] = copied
    root = _with_layers(network, modules)
    whole = fx.GraphModule(root, new)  # asks layers whether they can be left out
    whole.graph.eliminate_dead_code()
    template = fx.GraphModule(root, whole.graph).eval()  # without the layers that were left out
    kept = {f"select_{node}": one for node, (_, one) in selections.items()}
    return template, {name: one for name, one in kept.items() if hasattr(template, name)}


def refuse_changes_in_place(
    network: nn.Module,
    graph: fx.Graph,
    origins: Mapping[str, tuple[str, frozenset[int]]],
    selected: Iterable[str],
) -> None:
    """Refuse to change selected channels in place where they are used again under another name.

    A `Select` layer gives a copy, the network's own code a view of the same memory.

    Args:
        network: on ``meta``.
        graph: its graph.
        origins: node -> the node whose values it moves, and which of its channels.
        selected: nodes whose channels are selected somewhere.

    Raises:
        PlanError: naming the operation, and the activation that it would change.
    """
    order = {node: position for position, node in enumerate(graph.nodes)}
    bases = set(selected)
    for node in graph.nodes:
        if not node.all_input_nodes or not _works_in_place(network, node):
            continue
        changed = node.all_input_nodes[0]
        base, channels = origins.get(changed.name, (changed.name, None))
        if base not in bases:
            continue
        for other in graph.nodes:
            its_base, its = origins.get(other.name, (other.name, None))
            apart = channels is not None and its is not None and not channels & its
            used_later = any(order[user] > order[node] for user in other.users)
            if other is not changed and its_base == base and used_later and not apart:
                raise PlanError(
                    f"{node.name}: changes {changed.name} in place, which is used again as "
                    f"{other.name}; let it give a new tensor"
                )


_IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv)


def _works_in_place(network: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(network.get_submodule(str(node.target)), "inplace", False))
    if node.op not in ("call_function", "call_method"):
        return False
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    in_place = name.endswith("_") or node.target in _IN_PLACE
    return in_place or bool(node.kwargs.get("inplace", False))


def _let_shape_follow(graph: fx.Graph, node: fx.Node) -> None:
    """Let a layer norm that is called as a function read its shape from its weight."""
    weight = node.args[2] if len(node.args) > 2 else node.kwargs.get("weight")
    if node.target is F.layer_norm and isinstance(weight, fx.Node):
        with graph.inserting_before(node):
            shape = graph.create_node(
                "call_function", getattr, (weight, "shape"), name=f"shape_for_{node.name}"
            )
        if len(node.args) > 1:
            node.update_arg(1, shape)
        else:
            node.update_kwarg("normalized_shape", shape)


def _with_layers(network: nn.Module, modules: Mapping[str, nn.Module]) -> nn.Module:
    root = nn.Module()
    root.__dict__.update(network.__dict__)
    root._modules = {**network._modules, **modules}
    return root
