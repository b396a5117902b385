"""fvcore's count against torch's own, and against what one can reckon by hand.

Both count convolutions and matrix products. fvcore also counts norms and adaptive pools, which
torch's counter leaves out: the difference has to be exactly these, reckoned from the sizes of
what they are given.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cost.counting import counted, mean_of, together
from benchmarks.cost.masks import random_mask_of
from benchmarks.networks import module_by_mask, plan_of, random_classifier
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.classifier import Classifier, ImageNetwork
from modularizer.cost import count_cost

PER_INPUT_VALUE = {
    nn.BatchNorm2d: 2,  # a scale and a shift; mean and variance are kept, not taken
    nn.LayerNorm: 5,
    nn.AdaptiveAvgPool2d: 1,
}


def by_torch(network: nn.Module, image: torch.Tensor) -> int:
    """Multiply-adds of one image: torch counts a multiplication and an addition as two."""
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), warnings.catch_warnings(), counter:
        warnings.simplefilter("ignore")
        network(image)
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return int(flops // 2)


def beside_products(network: nn.Module, image: torch.Tensor) -> int:
    """What fvcore counts of norms and adaptive pools, from the sizes of their inputs."""
    found: list[int] = []

    def note(layer: nn.Module, given: Any, _: Any) -> None:
        rates = [rate for kind, rate in PER_INPUT_VALUE.items() if isinstance(layer, kind)]
        found.extend(rate * given[0].numel() for rate in rates)

    hooks = [layer.register_forward_hook(note) for layer in network.modules()]
    with torch.inference_mode():
        network(image)
    for hook in hooks:
        hook.remove()
    return sum(found)


def image_of(part: ImageNetwork) -> torch.Tensor:
    return torch.zeros(1, part.preprocessing.channels, *part.preprocessing.size)


def classifier(name: str, side: int = 32, **arguments: Any) -> Classifier:
    spec = ArchitectureSpec(name=name, arguments={"num_classes": 10, **arguments})
    return random_classifier(spec, side=side, seed=0)


@pytest.mark.parametrize("name", ["simcnn", "rescnn"])
@pytest.mark.parametrize("width", [0.1, 1])
def test_both_counters_agree_on_the_paper_s_networks_and_their_modules(
    name: str, width: float
) -> None:
    strong = classifier(name, width_multiplier=width)
    plan = plan_of(strong)
    module = module_by_mask(strong, plan, random_mask_of(plan, plan.kernels // 2, seed=1), 3)
    for part in (strong, module):
        found = count_cost(part.network, part.preprocessing)
        assert found.multiply_adds == by_torch(part.network, image_of(part))
    assert found.kernels == plan.kernels // 2


@pytest.mark.parametrize("name", ["simcnn", "rescnn"])
def test_with_batch_norm_they_differ_by_two_for_each_value_that_is_normed(name: str) -> None:
    strong = classifier(name, width_multiplier=0.1, batch_norm=True)
    image = image_of(strong)
    normed = beside_products(strong.network, image)
    assert normed > 0
    found = count_cost(strong.network, strong.preprocessing).multiply_adds
    assert found == by_torch(strong.network, image) + normed


@pytest.mark.slow  # importing torchvision's models takes seconds
@pytest.mark.parametrize(
    "name",
    ["alexnet", "vgg11", "squeezenet1_0", "resnet18", "regnet_y_400mf", "mobilenet_v3_small",
     "shufflenet_v2_x0_5", "convnext_tiny"],
)  # fmt: skip
def test_on_torchvision_s_classifiers_they_differ_by_norms_and_adaptive_pools_alone(
    name: str,
) -> None:
    strong = classifier(f"torchvision.{name}", side=64)
    image = image_of(strong)
    found = count_cost(strong.network, strong.preprocessing).multiply_adds
    assert found == by_torch(strong.network, image) + beside_products(strong.network, image)


def test_a_small_network_and_its_module_cost_what_one_reckons() -> None:
    strong = classifier("simcnn", side=8, input_size=8, stages=[[4], [6]], hidden=[5])
    whole = counted("strong", strong)
    k = 3 * 3
    assert whole.kernels == 4 + 6
    assert whole.parameters == (
        (k * 3 * 4 + 4) + (k * 4 * 6 + 6) + (6 * 2 * 2 * 5 + 5) + (5 * 10 + 10)
    )
    assert whole.multiply_adds == (k * 3 * 4 * 8 * 8 + k * 4 * 6 * 4 * 4 + 6 * 2 * 2 * 5 + 5 * 10)
    assert whole.weights_bytes == 4 * whole.parameters
    kept = torch.tensor([1, 0, 1, 0, 1, 0, 0, 1, 1, 0], dtype=torch.bool)  # 2 of 4, 3 of 6
    part = counted("module", module_by_mask(strong, plan_of(strong), kept, 7))
    assert part.kernels == 2 + 3
    assert part.parameters == (
        (k * 3 * 2 + 2) + (k * 2 * 3 + 3) + (3 * 2 * 2 * 5 + 5) + (5 * 1 + 1)
    )
    assert part.multiply_adds == k * 3 * 2 * 8 * 8 + k * 2 * 3 * 4 * 4 + 3 * 2 * 2 * 5 + 5
    assert part.weights_bytes == 4 * part.parameters


def test_buffers_are_bytes_of_weights_but_no_parameters() -> None:
    plain, normed = (
        counted("strong", classifier("simcnn", width_multiplier=0.05, batch_norm=has))
        for has in (False, True)
    )
    assert plain.parameters is not None
    assert normed.parameters is not None
    kernels, layers = normed.kernels, 13
    assert normed.parameters == plain.parameters + 2 * kernels  # a scale and a shift
    more_floats, more_counters = 4 * kernels, layers  # with mean and variance
    assert plain.weights_bytes is not None
    assert normed.weights_bytes == plain.weights_bytes + 4 * more_floats + 8 * more_counters


class SideBySide(nn.Module):
    """Networks that see the same image."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([one(images) for one in self.networks], dim=1)


def test_modules_side_by_side_cost_what_fvcore_counts_of_them_as_one_network() -> None:
    strong = classifier("rescnn", width_multiplier=0.05)
    plan = plan_of(strong)
    modules = [
        module_by_mask(strong, plan, random_mask_of(plan, plan.kernels // (2 + n), seed=n), n)
        for n in range(3)
    ]
    parts = [counted(str(n), one, bundle_bytes=100 + n) for n, one in enumerate(modules)]
    found = together("composed", parts)
    both = count_cost(SideBySide([one.network for one in modules]), strong.preprocessing)
    assert (found.kernels, found.parameters, found.multiply_adds) == (
        both.kernels,
        both.parameters,
        both.multiply_adds,
    )
    assert found.bundle_bytes == 303
    mean = mean_of("mean", parts)
    assert 3 * mean.multiply_adds == pytest.approx(found.multiply_adds)
    assert mean.kernels == pytest.approx(sum(one.kernels for one in parts) / 3)


def test_what_one_part_does_not_tell_is_not_known_of_all() -> None:
    strong = classifier("simcnn", width_multiplier=0.05)
    parts = [counted("a", strong, bundle_bytes=10), counted("b", strong)]
    assert together("both", parts).bundle_bytes is None
    assert mean_of("mean", parts).bundle_bytes is None
