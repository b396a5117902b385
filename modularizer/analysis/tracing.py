"""Making the slicing plan: walk through a network once with channel ids beside the shapes."""

from __future__ import annotations

import operator
import traceback
from collections.abc import Sequence
from pathlib import Path
from threading import Lock, get_ident
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, fx, nn

from modularizer.analysis.channel_ids import Traced
from modularizer.analysis.findings import Collected
from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.plan_making import make_plan
from modularizer.analysis.rebuild import rebuilt
from modularizer.analysis.trial import require_following
from modularizer.analysis.walk import Walk
from modularizer.errors import PlanError

_TRACING = Lock()


def slicing_plan(network: nn.Module, input_shape: Sequence[int]) -> SlicingPlan:
    """Find out which tensors carry which channels; nothing of the network is changed or run.

    The walk happens on ``meta`` copies, so neither weights nor time are spent on it. The plan is
    tried before it is given: one mask is decoded, on ``meta`` too, and a second walk through the
    sliced network has to meet the channels that the plan expects, at every layer.

    Args:
        network: float (N, channels, height, width) to scores (N, outputs), on any device.
        input_shape: (channels, height, width) of its input.

    Raises:
        PlanError: if the network can't be traced, holds an operation without a rule, or its code
            can't follow the slicing; the message names the layer and the reason.

    Example:
        >>> from modularizer.architectures.simcnn import simcnn
        >>> slicing_plan(simcnn(10, width_multiplier=0.25), (3, 32, 32)).kernels
        1056
    """
    _refuse_shared_tensors(network)
    on_meta = rebuilt(
        network, {name: tensor.to("meta") for name, tensor in _tensors(network).items()}
    ).eval()
    graph = traced(on_meta)
    findings = Collected()
    walk = Walk(fx.GraphModule(on_meta, graph), findings)
    dtype = next((p.dtype for p in on_meta.parameters()), None)
    image = torch.empty((1, *input_shape), device="meta", dtype=dtype)
    try:
        output = walk.run(image)
        _require_scores(output)
        plan = make_plan(on_meta, graph, walk, findings, output)
        require_following(plan, on_meta, image, walk, findings, traced)
    except PlanError:
        raise
    except Exception as error:  # networks hold anything: what no rule foresaw is a refusal, too
        raise PlanError(
            f"{type(network).__name__} can't be followed: {type(error).__name__}: {error}"
        ) from error
    return plan


def traced(network: nn.Module) -> fx.Graph:
    """The network's graph. Other threads may run networks, or call this, meanwhile.

    Raises:
        PlanError: if its code can't be followed; the message says where.
    """
    try:
        graph = _Tracer().trace(network)
    except Exception as error:  # fx raises many kinds for what it can't follow
        another = _traced_through_buffers(network)
        if another is None:
            raise PlanError(
                f"{type(network).__name__} can't be traced{_place(network, error.__traceback__)}: "
                f"{error}. Control flow that depends on values has to go; see torch.fx"
            ) from error
        graph = another
    if any(map(_is_constant, graph.nodes)):
        graph = _traced_through_buffers(network) or graph
    taken = [str(node.target) for node in graph.nodes if node.op == "placeholder"]
    if len(taken) != 1:
        raise PlanError(
            f"{type(network).__name__}.forward takes {', '.join(taken)}; a network that can be "
            "sliced takes images alone: set the rest in its constructor"
        )
    _inline_scalars(network, graph)
    return graph


class _Tracer(fx.Tracer):
    """Follows the layers that its own thread calls.

    While fx traces, ``nn.Module.__call__`` and ``__getattr__`` are its own in the whole process:
    it would take the layers of networks that run in other threads for those of this one, and fail
    there. Two that trace at once would leave them replaced for ever.
    """

    _thread: int

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        with _TRACING:
            self._thread = get_ident()
            return super().trace(root, concrete_args)

    def call_module(
        self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def _traced_through_buffers(network: nn.Module) -> fx.Graph | None:
    """The graph with what the code makes of buffers; None where code asks for their sizes."""
    tracer = _Tracer()
    tracer.proxy_buffer_attributes = True
    try:
        return tracer.trace(network)
    except Exception:  # the usual way's reason is told
        return None


def _is_constant(node: fx.Node) -> bool:
    """Whether it is a tensor that the network's code has made."""
    return node.op == "get_attr" and str(node.target).startswith("_tensor_constant")


def _place(network: nn.Module, trace: TracebackType | None) -> str:
    """The layer and line of the network's own code in which tracing ended."""
    names = {id(module): name for name, module in network.named_modules()}
    found = ""
    for frame, line in traceback.walk_tb(trace):
        owner = frame.f_locals.get("self")
        if id(owner) in names and not frame.f_globals.get("__name__", "").startswith("torch."):
            layer = f"{names[id(owner)] or 'itself'} ({type(owner).__name__})"
            found = f" in {layer}, {Path(frame.f_code.co_filename).name} line {line}"
    return found


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _refuse_shared_tensors(network: nn.Module) -> None:
    names: dict[int, str] = {}
    for module_name, module in network.named_modules():
        own = [
            *module.named_parameters(recurse=False, remove_duplicate=False),
            *module.named_buffers(recurse=False, remove_duplicate=False),
        ]
        for own_name, tensor in own:
            name = f"{module_name}.{own_name}" if module_name else own_name
            other = names.setdefault(id(tensor), name)
            if other != name:
                raise PlanError(
                    f"{name} and {other} are one tensor; shared weights can't be sliced"
                )


def _inline_scalars(network: nn.Module, graph: fx.Graph) -> None:
    """Turn tensors of one element that the code makes into numbers: they belong to no layer."""
    for node in list(graph.nodes):
        if not _is_constant(node):
            continue
        constant = getattr(network, str(node.target))
        is_index = any(user.target is operator.getitem for user in node.users)
        if constant.numel() != 1 or constant.is_meta or is_index:
            raise PlanError(
                f"a tensor of shape {tuple(constant.shape)} is made in the network's code (used "
                f"by {', '.join(map(str, node.users))}); register it as a buffer"
            )
        for user in list(node.users):
            user.replace_input_with(node, constant.item())
        graph.erase_node(node)


def _require_scores(output: object) -> None:
    if not isinstance(output, Traced) or output.ids.ndim != 2:
        found = tuple(output.value.shape) if isinstance(output, Traced) else type(output).__name__
        raise PlanError(f"the network must give one score a class, (N, classes); found {found}")
