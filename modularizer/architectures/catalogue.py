"""The allow-list: which networks may be built from a name and plain arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from modularizer.architectures.rescnn import rescnn, simple_rescnn
from modularizer.architectures.shapes_only import ShapesOnly
from modularizer.architectures.simcnn import simcnn, simple_simcnn
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.errors import ArchitectureError

Builder = Callable[..., nn.Module]


def _torchvision_resnet18(num_classes: int) -> nn.Module:
    from torchvision.models import resnet18  # 16 s of CPU on first import: only when asked for

    network: nn.Module = resnet18(num_classes=num_classes)
    return network


_BUILDERS: dict[str, Builder] = {
    "simcnn": simcnn,
    "simple_simcnn": simple_simcnn,
    "rescnn": rescnn,
    "simple_rescnn": simple_rescnn,
    "torchvision.resnet18": _torchvision_resnet18,
}


def architecture_names() -> tuple[str, ...]:
    """Every name that `build_network` knows."""
    return tuple(sorted(_BUILDERS))


def build_network(spec: ArchitectureSpec, *, device: str | torch.device = "cpu") -> nn.Module:
    """Build a network by name, with fresh weights, or on ``meta`` without any.

    On ``meta`` neither memory nor time is spent on weights: that is how stored tensors are
    compared with what the architecture expects before they are read.

    Raises:
        ArchitectureError: if the name is not on the allow-list or the arguments don't fit.

    Example:
        >>> spec = ArchitectureSpec(name="simcnn", arguments={"num_classes": 10})
        >>> sum(p.numel() for p in build_network(spec, device="meta").parameters())
        15245130
    """
    builder = _BUILDERS.get(spec.name)
    if builder is None:
        raise ArchitectureError(
            f"no architecture {spec.name!r}; there are {', '.join(architecture_names())}"
        )
    arguments: dict[str, Any] = dict(spec.arguments)
    try:
        with torch.device(device), ShapesOnly():
            return builder(**arguments)
    except ArchitectureError:
        raise
    except (TypeError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        raise ArchitectureError(f"{spec.name} can't be built from {arguments}: {error}") from error
