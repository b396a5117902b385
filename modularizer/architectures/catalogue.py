"""The allow-list: which networks may be built from a name and plain arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any

import torch
from torch import nn

from modularizer.architectures.names import (
    PREFIX,
    TORCHVISION,
    architecture_names,
    distribution_of,
    offered,
)
from modularizer.architectures.rescnn import rescnn, simple_rescnn
from modularizer.architectures.shapes_only import ShapesOnly
from modularizer.architectures.simcnn import simcnn, simple_simcnn
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.errors import ArchitectureError

Builder = Callable[..., nn.Module]

_OWN: dict[str, Builder] = {
    "simcnn": simcnn,
    "simple_simcnn": simple_simcnn,
    "rescnn": rescnn,
    "simple_rescnn": simple_rescnn,
}
_NEVER_PASSED_ON = frozenset({"weights", "pretrained", "progress", "aux_logits", "init_weights"})
_WITH_AUX_HEADS = frozenset({"googlenet", "inception_v3"})


def build_network(spec: ArchitectureSpec, *, device: str | torch.device = "cpu") -> nn.Module:
    """Build a network by name, with fresh weights, or on ``meta`` without any.

    On ``meta`` neither memory nor time is spent on weights: that is how stored tensors are
    compared with what the architecture expects before they are read. Nothing is ever downloaded.

    Raises:
        ArchitectureError: if the name is not on the allow-list, the arguments don't fit, or what
            an installed package offers under it is broken.

    Example:
        >>> spec = ArchitectureSpec(name="simcnn", arguments={"num_classes": 10})
        >>> sum(p.numel() for p in build_network(spec, device="meta").parameters())
        15245130
    """
    builder = _builder(spec.name)
    arguments: dict[str, Any] = dict(spec.arguments)
    try:
        with torch.device(device), ShapesOnly():
            network = builder(**arguments)
    except ArchitectureError:
        raise
    except Exception as error:  # arguments are anyone's, and so are builders
        raise ArchitectureError(f"{spec.name} can't be built from {arguments}: {error}") from error
    if not isinstance(network, nn.Module):
        raise ArchitectureError(f"{spec.name} gives a {type(network).__name__}, no nn.Module")
    return network


def arguments_of(name: str) -> frozenset[str]:
    """The names of the arguments that an architecture takes, as far as its builder says.

    Raises:
        ArchitectureError: as `build_network`.
    """
    parameters = inspect.signature(_builder(name)).parameters.values()
    return frozenset(one.name for one in parameters if one.kind is not one.VAR_KEYWORD)


def _builder(name: str) -> Builder:
    if name in _OWN:
        return _OWN[name]
    if name in TORCHVISION:
        return partial(_torchvision, name.removeprefix(PREFIX))
    points = offered().get(name)
    if points is None:
        raise ArchitectureError(
            f"no architecture {name!r}; there are {', '.join(architecture_names())}"
        )
    if len(points) > 1:
        whose = " and ".join(sorted(distribution_of(point) for point in points))
        raise ArchitectureError(f"{whose} offer an architecture {name!r} each; one has to go")
    return _loaded(points[0])


def _torchvision(model: str, /, num_classes: int, **arguments: Any) -> nn.Module:
    """A classifier of torchvision with fresh weights; never its published ones."""
    refused = sorted(_NEVER_PASSED_ON & arguments.keys())
    if refused:
        raise ArchitectureError(
            f"torchvision.{model} takes no {', '.join(refused)} here: weights come from training"
        )
    from torchvision import models  # 16 s of CPU on first import: only when asked for

    if model in _WITH_AUX_HEADS:
        arguments |= {"aux_logits": False, "init_weights": False}
    network: nn.Module = getattr(models, model)(
        weights=None, progress=False, num_classes=num_classes, **arguments
    )
    return network


def _loaded(point: EntryPoint) -> Builder:
    whose = f"architecture {point.name!r} of {distribution_of(point)} ({point.value})"
    try:
        builder = point.load()
    except Exception as error:  # importing someone's package runs whatever is in it
        raise ArchitectureError(
            f"{whose} can't be imported: {type(error).__name__}: {error}"
        ) from error
    if not callable(builder):
        raise ArchitectureError(f"{whose} is a {type(builder).__name__}; expected a function")
    return builder  # type: ignore[no-any-return]
