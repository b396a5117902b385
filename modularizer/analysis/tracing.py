"""Making the slicing plan: walk through a network once with channel ids beside the shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from modularizer.analysis.channel_ids import PINNED, Traced, along
from modularizer.analysis.plan import Segment, SlicingPlan
from modularizer.analysis.rebuild import rebuilt
from modularizer.analysis.rules import IMPORTANCE_IS_READ_AFTER, RULES, Call, Findings
from modularizer.architectures.shapes_only import ShapesOnly
from modularizer.errors import PlanError


def slicing_plan(network: nn.Module, input_shape: Sequence[int]) -> SlicingPlan:
    """Find out which tensors carry which channels; nothing of the network is changed or run.

    The walk happens on ``meta`` copies, so neither weights nor time are spent on it.

    Args:
        network: float (N, channels, height, width) to scores (N, outputs), on any device.
        input_shape: (channels, height, width) of its input.

    Raises:
        PlanError: if the network can't be traced, or holds an operation without a rule; the
            message names the layer and the reason.

    Example:
        >>> from modularizer.architectures.simcnn import simcnn
        >>> slicing_plan(simcnn(10, width_multiplier=0.25), (3, 32, 32)).kernels
        1056
    """
    _refuse_shared_tensors(network)
    on_meta = rebuilt(
        network, {name: tensor.to("meta") for name, tensor in _tensors(network).items()}
    ).eval()
    try:
        graph = fx.Tracer().trace(on_meta)
    except Exception as error:  # fx raises many kinds for what it can't follow
        raise PlanError(
            f"{type(network).__name__} can't be traced: {error}. Control flow that depends on "
            "values has to go; see torch.fx"
        ) from error
    walk = _Walk(fx.GraphModule(on_meta, graph))
    dtype = next((p.dtype for p in on_meta.parameters()), None)
    output = walk.run(torch.empty((1, *input_shape), device="meta", dtype=dtype))
    return _plan(walk, output, graph)


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _refuse_shared_tensors(network: nn.Module) -> None:
    names: dict[int, str] = {}
    for name, tensor in [
        *network.named_parameters(remove_duplicate=False),
        *network.named_buffers(remove_duplicate=False),
    ]:
        other = names.setdefault(id(tensor), name)
        if other != name:
            raise PlanError(f"{name} and {other} are one tensor; shared weights can't be sliced")


class _Walk(fx.Interpreter):
    """Runs the graph on shapes, and the rules on ids beside them."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        super().__init__(graph_module)
        self.extra_traceback = False  # fx would append its own traceback to our messages
        self.findings = Findings()
        self.observable: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "placeholder":
            value = super().run_node(n)
            return Traced(value, torch.full(value.shape, PINNED))
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        if n.op == "output":
            return args[0]
        if n.op == "get_attr":
            raise PlanError(f"{n.target}: a tensor used outside a layer can't be sliced yet")
        value = self._run_on_shapes(n, args, kwargs)
        if not isinstance(value, Tensor):
            return value  # a size: the shape at hand, as the network's own code sees it
        submodule = self.fetch_attr(n.target) if n.op == "call_module" else None  # type: ignore[arg-type]
        key: Any = n.target if submodule is None else type(submodule)
        where = _where(n, submodule)
        rule = RULES.get(key)
        if rule is None:
            raise PlanError(f"{where}: no rule for this operation; it can't be sliced")
        layer = str(n.target) if submodule is not None else ""
        target = None if submodule is not None else n.target
        ids = rule(Call(where, layer, submodule, target, args, kwargs, value), self.findings)
        if ids.shape != value.shape:
            raise PlanError(f"{where}: gives shape {tuple(value.shape)}, its ids {ids.shape}")
        if key in IMPORTANCE_IS_READ_AFTER and value.ndim == 4:
            self.observable[n.name] = along(ids, 1, where)
        return Traced(value, ids)

    def _run_on_shapes(self, n: fx.Node, args: Any, kwargs: Any) -> Any:
        values = fx.node.map_aggregate((args, kwargs), _value_of)
        assert isinstance(values, tuple)
        try:
            with ShapesOnly():
                return getattr(self, n.op)(n.target, *values)
        except Exception as error:  # whatever the operation itself raises on a wrong shape
            raise PlanError(f"{n.name}: fails on an input of this shape: {error}") from error


def _value_of(item: Any) -> Any:
    return item.value if isinstance(item, Traced) else item


def _where(node: fx.Node, submodule: nn.Module | None) -> str:
    if submodule is not None:
        return f"{node.target} ({type(submodule).__name__})"
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "?")
    layer = next(iter(reversed((node.meta.get("nn_module_stack") or {}).values())), None)
    inside = f" in {layer[0]}" if isinstance(layer, tuple) and layer[0] else ""
    return f"{name}{inside} (node {node.name})"


def _plan(walk: _Walk, output: Any, graph: fx.Graph) -> SlicingPlan:
    findings = walk.findings
    if not isinstance(output, Traced) or output.ids.ndim != 2:
        found = tuple(output.value.shape) if isinstance(output, Traced) else type(output).__name__
        raise PlanError(f"the network must give one score a class, (N, classes); found {found}")
    roots = findings.ids.roots
    output_roots = roots(output.ids[0]).tolist()
    if len(set(output_roots)) != len(output_roots) or PINNED in output_roots:
        raise PlanError("the network's scores don't come from outputs of one layer each")
    fixed = {PINNED, *output_roots}
    kernels = {name: roots(ids).tolist() for name, ids in findings.kernels.items()}
    segments, channel_of = _segments(kernels, fixed)
    channels = len(channel_of)
    entry_of = {root: channels + 1 + index for index, root in enumerate(output_roots)}
    entry_of |= channel_of

    shared: dict[
        tuple[int, ...], Tensor
    ] = {}  # equal entries are one tensor: decoding counts on it

    def entries(ids: Tensor) -> Tensor:
        found = tuple(entry_of.get(root, channels) for root in roots(ids).tolist())
        return shared.setdefault(found, torch.tensor(found, dtype=torch.int64))

    per_channel = torch.zeros(channels, dtype=torch.int64)
    for layer_roots in kernels.values():
        for root in layer_roots:
            if root in channel_of:
                per_channel[channel_of[root]] += 1
    tensors: dict[str, dict[int, Tensor]] = {}
    for (name, dim), ids in findings.tensors.items():
        tensors.setdefault(name, {})[dim] = entries(ids)
    return SlicingPlan(
        segments=segments,
        kernels_per_channel=per_channel,
        kernels=sum(len(layer_roots) for layer_roots in kernels.values()),
        outputs=len(output_roots),
        entries=tensors,
        consumers={name: entries(ids) for name, ids in findings.consumers.items()},
        graph=graph,
        observations=_observations(
            {name: entries(ids) for name, ids in walk.observable.items()}, segments
        ),
    )


def _segments(
    kernels: dict[str, list[int]], fixed: set[int]
) -> tuple[tuple[Segment, ...], dict[int, int]]:
    """Convolutions that share a channel, and the number of each removable channel by its root."""
    together: list[tuple[list[str], dict[int, None]]] = []  # dicts as ordered sets
    order = {name: position for position, name in enumerate(kernels)}
    for name, layer_roots in kernels.items():
        removable = dict.fromkeys(root for root in layer_roots if root not in fixed)
        if not removable:
            continue
        names, channels = [name], removable
        for other in [group for group in together if group[1].keys() & removable.keys()]:
            together.remove(other)
            names, channels = other[0] + names, other[1] | channels
        together.append((sorted(names, key=order.__getitem__), channels))
    together.sort(key=lambda group: order[group[0][0]])
    segments: list[Segment] = []
    channel_of: dict[int, int] = {}
    for names, channels in together:
        start = len(channel_of)
        channel_of |= {root: start + offset for offset, root in enumerate(channels)}
        segments.append(Segment(tuple(names), start, len(channel_of)))
    return tuple(segments), channel_of


def _observations(
    observable: dict[str, Tensor], segments: tuple[Segment, ...]
) -> dict[str, Tensor]:
    """For each segment the last node that carries all its channels, before any pool shrinks it.

    After the last addition where layers are coupled, as in the paper's published code.
    """
    last: dict[int, tuple[str, Tensor]] = {}
    for name, entries in observable.items():
        for index, segment in enumerate(segments):
            if set(entries.tolist()) == set(range(segment.start, segment.stop)):
                last[index] = (name, entries)
    missing = [segments[index].layers for index in range(len(segments)) if index not in last]
    if missing:
        raise PlanError(
            f"no place shows all feature maps of {', '.join(map(str, missing))} at once; "
            "their importance can't be read"
        )
    return dict(last.values())
