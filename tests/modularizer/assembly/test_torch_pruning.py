"""torch-pruning as a second oracle: it cuts the same kernels by following gradients.

It works on a copy and needs gradients to trace. Two families are left out: it doesn't know
channel shuffles (shufflenet), and cuts a grouped convolution by a channel of each group, not by
whole groups (resnext, regnet).
"""

from __future__ import annotations

import copy
import importlib.util
import warnings

import pytest
import torch
from torch import nn

from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.decode import decode
from tests.modularizer.exactness import channel_of
from tests.modularizer.oracle import pixels, randomised

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch_pruning") is None, reason="needs torch-pruning"
)

SIZES = {
    "resnet18": 40,
    "densenet121": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "googlenet": 32,
    "squeezenet1_1": 40,
    "convnext_tiny": 32,
}


def cut_by_torch_pruning(network: nn.Module, image: torch.Tensor, layer: str, kernel: int) -> None:
    import torch_pruning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch_pruning.DependencyGraph().build_dependency(network, example_inputs=image)
        group = graph.get_pruning_group(
            network.get_submodule(layer), torch_pruning.prune_conv_out_channels, idxs=[kernel]
        )
        group.prune()


def first_kernels(plan: SlicingPlan) -> dict[int, tuple[str, int]]:
    """A kernel of each channel: the first."""
    found: dict[int, tuple[str, int]] = {}
    for kernel, channel in channel_of(plan).items():
        found.setdefault(channel, kernel)
    return found


@pytest.mark.parametrize("name", SIZES)
def test_torch_pruning_leaves_the_same_network(name: str) -> None:
    torch.manual_seed(0)
    spec = ArchitectureSpec(name=f"torchvision.{name}", arguments={"num_classes": 3})
    network = randomised(build_network(spec))
    shape = (3, SIZES[name], SIZES[name])
    plan = slicing_plan(network, shape)
    kernels = first_kernels(plan)
    images = pixels(shape, 2)
    pruned = copy.deepcopy(network)
    kept = torch.ones(plan.channels, dtype=torch.bool)
    for segment in (plan.segments[0], plan.segments[len(plan.segments) // 2], plan.segments[-1]):
        channel = segment.stop - 1
        layer, kernel = kernels[channel]
        cut_by_torch_pruning(pruned, images[:1], layer, kernel)
        kept[channel] = False
    decoded = decode(network, plan, kept)
    assert {k: v.shape for k, v in decoded.state_dict().items()} == {
        k: v.shape for k, v in pruned.state_dict().items()
    }
    with torch.no_grad():
        expected, found = pruned.eval()(images), decoded(images)
    scale = max(1.0, float(expected.abs().max()))
    assert float((expected - found).abs().max()) <= 1e-10 * scale
