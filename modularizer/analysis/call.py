"""One operation of a traced network, as the rules see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from modularizer.analysis.channel_ids import Traced
from modularizer.analysis.findings import Findings
from modularizer.errors import PlanError


@dataclass(frozen=True)
class Call:
    """One operation of the traced network.

    Attributes:
        node: the graph node's name.
        where: how to name it in a message.
        layer: the submodule's name, empty for functions and methods.
        submodule: the submodule, None for functions and methods.
        target: the function or method name, None for submodules.
        args: positional arguments, activations as `Traced`.
        kwargs: keyword arguments, likewise.
        value: what the operation gives, on ``meta``.
        source_node: the name of the node that gives the first argument.
    """

    node: str
    where: str
    layer: str
    submodule: nn.Module | None
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    value: Any
    source_node: str

    @property
    def source(self) -> Traced:
        """The activation that the operation works on: its first argument."""
        first = self.argument(0, "input")
        if not isinstance(first, Traced):
            raise PlanError(f"{self.where}: its first argument is not an activation")
        return first

    @property
    def shaped(self) -> Tensor:
        """What the operation gives, where that is a single tensor."""
        if not isinstance(self.value, Tensor):
            raise PlanError(f"{self.where}: gives several tensors; it can't be sliced")
        return self.value

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by position or name."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)


Rule = Callable[[Call, Findings], Any]
"""Gives the ids of what the operation gives: a tensor, or a sequence of tensors or `Traced`."""
