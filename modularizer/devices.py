"""Where networks run."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from modularizer.errors import ModularizerError


def require_device(name: str, precision: str = "float32") -> torch.device:
    """A device by name.

    Args:
        name: ``cpu`` or ``cuda``.
        precision: the arithmetic that is wanted there.

    Raises:
        ModularizerError: if this machine doesn't have it, or it has no such arithmetic.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ModularizerError("there is no GPU here that torch can use; leave --device out")
    if name == "cpu" and precision == "tf32":
        raise ModularizerError("tf32 is arithmetic of GPUs; give --device cuda, too")
    return torch.device(name)


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters are; the CPU if it has none."""
    return next((p.device for p in module.parameters()), torch.device("cpu"))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """A context in which layers that bear it compute in bfloat16, if that was asked for.

    Args:
        device: where they run.
        precision: ``bfloat16`` or anything else.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def arithmetic(precision: str) -> AbstractContextManager[Any]:
    """A context in which a GPU uses TF32 if that was asked for, and only then.

    cuDNN's convolutions would use it unasked.
    """
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=precision == "tf32")
