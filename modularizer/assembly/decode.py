"""From a mask to a physically smaller network (section 3.3.2)."""

from __future__ import annotations

import json
from functools import lru_cache

from torch import Tensor, nn

from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.slicing import sliced
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.preprocessing import Preprocessing


def decode(
    network: nn.Module, plan: SlicingPlan, kept: Tensor, *, output: int | None = None
) -> nn.Module:
    """Slice a network down to the kernels that a mask keeps.

    Removed kernels go with their bias and batch-norm entries, and every following layer's
    matching inputs go too. The result gives exactly what the whole network gives when the
    removed channels are zero at the input of every layer that takes them in.

    Args:
        network: the whole network; left as it is.
        plan: its slicing plan.
        kept: bool (plan.channels,).
        output: keep this one score, (N, 1); None keeps all, (N, outputs).

    Returns:
        A network of its own, in evaluation mode, its tensors copies that need no gradient.

    Raises:
        DecodeError: if the mask doesn't fit the plan or empties a layer.
    """
    return sliced(network, plan, plan.alive(kept, output)).eval()


def class_module_skeleton(
    architecture: ArchitectureSpec, preprocessing: Preprocessing, kept: Tensor, output: int
) -> nn.Module:
    """The sliced network without its weights, on ``meta``: what stored tensors must fit.

    Args:
        architecture: the strong network's structure.
        preprocessing: its preprocessing; gives the input's shape.
        kept: bool (channels,).
        output: the strong network's output that is kept.

    Raises:
        ArchitectureError: if the architecture is not on the allow-list.
        PlanError: if it can't be sliced.
        DecodeError: if the mask doesn't fit.
    """
    arguments = json.dumps(architecture.arguments, sort_keys=True)
    shape = (preprocessing.channels, *preprocessing.size)
    whole, plan = _whole_and_plan(architecture.name, arguments, shape)
    return decode(whole, plan, kept, output=output)


@lru_cache(maxsize=8)
def _whole_and_plan(
    name: str, arguments: str, shape: tuple[int, ...]
) -> tuple[nn.Module, SlicingPlan]:
    """A strong network on ``meta`` and its plan, which all its class modules share."""
    whole = build_network(
        ArchitectureSpec(name=name, arguments=json.loads(arguments)), device="meta"
    )
    return whole, slicing_plan(whole, shape)
