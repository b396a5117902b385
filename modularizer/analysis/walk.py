"""A walk through a traced network: shapes on ``meta``, and the rules on channel ids beside them."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from modularizer.analysis.call import Call
from modularizer.analysis.channel_ids import Traced, compact
from modularizer.analysis.findings import Findings
from modularizer.analysis.rules import (
    ANSWERS_WITHOUT_VALUES,
    ATTRIBUTES_WITHOUT_VALUES,
    IMPORTANCE_IS_READ_AFTER,
    MOVEMENTS,
    rule_for,
)
from modularizer.architectures.shapes_only import ShapesOnly
from modularizer.errors import PlanError

_FOLLOW_BY_THEMSELVES = frozenset({*MOVEMENTS, "expand", torch.nn.functional.layer_norm})


class Walk(fx.Interpreter):
    """Runs the graph on shapes, and the rules on ids beside them.

    Args:
        graph_module: the traced network, on ``meta``.
        findings: what the rules write down, or check.

    Attributes:
        observable: node name -> ids of its feature maps, where importance may be read.
        selections: node name -> (the node it selects channels of, which, the other's ids), for
            nodes that give some of another's channels, or all in another order.
        origins: node name -> (the node whose values it moves, positions of their channels).
        numbers: node name -> the plain arguments of what it computes.
    """

    def __init__(self, graph_module: fx.GraphModule, findings: Findings) -> None:
        super().__init__(graph_module)
        self.extra_traceback = False  # fx would append its own traceback to our messages
        self.findings = findings
        self.observable: dict[str, Tensor] = {}
        self.selections: dict[str, tuple[str, Tensor, Tensor]] = {}
        self.origins: dict[str, tuple[str, frozenset[int]]] = {}
        self.numbers: dict[str, list[Any]] = {}
        self._ids: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """What the node gives: activations as `Traced`, sizes as they are."""
        found = self._run(n)
        if isinstance(found, Traced):
            self._ids[n.name] = found.ids
            if n.op != "output":
                self._note_selection(n, found)
        return found

    def _run(self, n: fx.Node) -> Any:
        if n.op == "placeholder":
            value = super().run_node(n)
            return Traced(value, torch.tensor(self.findings.always).expand(value.shape))
        if n.op == "get_attr":
            return self._bare(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        if n.op == "output":
            return args[0]
        if n.target is operator.getitem and isinstance(args[0], tuple):
            return args[0][args[1]]  # one of several activations, or a size
        value = self._run_on_shapes(n, args, kwargs)
        if _holds_activations((args, kwargs)) and (
            _holds_tensors(value) or not _asks_for_shape(n, args)
        ):
            return self._ruled(n, args, kwargs, value)
        if _holds_tensors(value):
            raise PlanError(
                f"{where_of(n, None)}: makes a tensor in the network's code; make it in the "
                "constructor and register it as a buffer"
            )
        return value  # a size: the shape at hand, as the network's own code sees it

    def _bare(self, n: fx.Node) -> Traced:
        name = str(n.target)
        tensor = self.fetch_attr(name)
        if not isinstance(tensor, Tensor):
            raise PlanError(f"{name}: used outside of a layer, and no tensor")
        return Traced(tensor.to("meta"), self.findings.parameter(name, tensor.shape), name=name)

    def _ruled(self, n: fx.Node, args: Any, kwargs: Any, value: Any) -> Any:
        submodule = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        key: Any = n.target if submodule is None else type(submodule)
        where = where_of(n, submodule)
        rule = rule_for(key)
        if rule is None:
            raise PlanError(f"{where}: no rule for this operation; it can't be sliced")
        call = Call(
            node=n.name,
            where=where,
            layer=str(n.target) if submodule is not None else "",
            submodule=submodule,
            target=None if submodule is not None else n.target,
            args=args,
            kwargs=kwargs,
            value=value,
            source_node=n.all_input_nodes[0].name if n.all_input_nodes else "",
        )
        found = rule(call, self.findings)
        if n.op != "call_module" and key not in _FOLLOW_BY_THEMSELVES:
            self.numbers[n.name] = _numbers((args, kwargs))
        if key in IMPORTANCE_IS_READ_AFTER and value.ndim == 4 and _one_each(found):
            self.observable[n.name] = compact(found).expand(1, value.shape[1], 1, 1).flatten()
        return _with_value(found, value, where)

    def _note_selection(self, n: fx.Node, found: Traced) -> None:
        if found.origin is None or found.origin.node not in self._ids:
            return
        positions = compact(found.origin.channel).unique().tolist()
        self.origins[n.name] = (found.origin.node, frozenset(positions))
        channels = found.origin.selected_channels()
        if channels is not None and channels.tolist() != list(range(found.origin.shape[1])):
            source = self._ids[found.origin.node]
            self.selections[n.name] = (found.origin.node, channels, source)

    def _run_on_shapes(self, n: fx.Node, args: Any, kwargs: Any) -> Any:
        values = fx.node.map_aggregate((args, kwargs), _value_of)
        assert isinstance(values, tuple)
        try:
            with ShapesOnly():
                return getattr(self, n.op)(n.target, *values)
        except Exception as error:  # whatever the operation itself raises on a wrong shape
            where = where_of(n, self.fetch_attr(str(n.target)) if n.op == "call_module" else None)
            raise PlanError(f"{where}: fails on an input of this shape: {error}") from error


def where_of(node: fx.Node, submodule: nn.Module | None) -> str:
    """How a message names an operation: by its layer, or its function and the layer around it."""
    if submodule is not None:
        return f"{node.target} ({type(submodule).__name__})"
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "?")
    layer = next(iter(reversed((node.meta.get("nn_module_stack") or {}).values())), None)
    inside = f" in {layer[0]}" if isinstance(layer, tuple) and layer[0] else ""
    return f"{name}{inside} (node {node.name})"


def _with_value(found: Any, value: Any, where: str) -> Any:
    if isinstance(value, Tensor):
        if not isinstance(found, Traced):
            found = Traced(value, found)
        if found.ids.shape != value.shape:
            raise PlanError(f"{where}: gives shape {tuple(value.shape)}, its ids {found.ids.shape}")
        return found
    if len(found) != len(value):
        raise PlanError(f"{where}: gives {len(value)} activations, its rule {len(found)}")
    return tuple(_with_value(ids, one, where) for ids, one in zip(found, value, strict=True))


def _one_each(found: Any) -> bool:
    """Whether each position along dimension 1 is one feature map of a single channel."""
    return isinstance(found, Tensor) and all(
        size == 1 for dim, size in enumerate(compact(found).shape) if dim != 1
    )


def _asks_for_shape(node: fx.Node, args: Any) -> bool:
    if node.target is getattr:
        return args[1] in ATTRIBUTES_WITHOUT_VALUES
    return node.op != "call_module" and node.target in ANSWERS_WITHOUT_VALUES


def _value_of(item: Any) -> Any:
    return item.value if isinstance(item, Traced) else item


def _flat(items: Any) -> list[Any]:
    if isinstance(items, list | tuple):
        return [one for item in items for one in _flat(item)]
    if isinstance(items, dict):
        return [one for key in sorted(items) for one in (key, *_flat(items[key]))]
    if isinstance(items, slice):
        return _flat([items.start, items.stop, items.step])
    return [items]


def _holds_activations(items: Any) -> bool:
    return any(isinstance(item, Traced) for item in _flat(items))


def _holds_tensors(items: Any) -> bool:
    return any(isinstance(item, Tensor) for item in _flat(items))


def _numbers(items: Any) -> list[Any]:
    return [item for item in _flat(items) if not isinstance(item, Traced)]
