"""Every CNN classifier of torchvision: planned, and decoded exactly."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modularizer.analysis.importance import importance
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.names import TORCHVISION
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.errors import PlanError
from tests.modularizer.exactness import assert_decoded_equals_masked, random_mask
from tests.modularizer.oracle import pixels, randomised

SMALL = {
    "alexnet": 64,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "googlenet": 32,
    "inception_v3": 75,
    "mnasnet0_5": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "regnet_x_400mf": 32,
    "regnet_y_400mf": 32,
    "resnet18": 40,
    "resnext50_32x4d": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 40,
    "vgg11": 32,
}
LARGER = {
    "convnext_small": 32,
    "densenet201": 64,
    "efficientnet_b4": 32,
    "efficientnet_v2_s": 64,
    "inception_v3": 107,
    "mnasnet1_3": 64,
    "mobilenet_v3_large": 64,
    "regnet_x_8gf": 64,
    "regnet_y_3_2gf": 64,
    "resnet50": 72,
    "resnext101_32x8d": 32,
    "shufflenet_v2_x2_0": 64,
    "squeezenet1_0": 72,
    "vgg16_bn": 64,
    "wide_resnet50_2": 64,
}


def classifier(name: str, *, device: str = "cpu") -> nn.Module:
    spec = ArchitectureSpec(name=f"torchvision.{name}", arguments={"num_classes": 4})
    return build_network(spec, device=device)


def assert_exact(name: str, size: int, *, masks: int) -> None:
    torch.manual_seed(0)
    network = randomised(classifier(name))
    shape = (3, size, size + 8)
    plan = slicing_plan(network, shape)
    assert plan.kernels == kernels_of(network)
    images = pixels(shape, count=2)
    for seed in range(masks):
        kept = random_mask(plan, 0.6, seed)
        assert_decoded_equals_masked(network, plan, kept, images, every_output=False)
    found = importance(network, plan, [[images[:1]], [images[1:]]])
    assert found.shape == (2, plan.channels)
    assert torch.isfinite(found).all()
    assert not torch.equal(found[0], found[1])


def kernels_of(network: nn.Module) -> int:
    return sum(layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize("name", SMALL)
def test_a_small_one_of_each_family_is_decoded_exactly(name: str) -> None:
    assert_exact(name, SMALL[name], masks=1)


@pytest.mark.slow  # some seconds each
@pytest.mark.parametrize("name", LARGER)
def test_a_larger_one_of_each_family_is_decoded_exactly(name: str) -> None:
    assert_exact(name, LARGER[name], masks=2)


@pytest.mark.slow  # 68 networks
@pytest.mark.parametrize("name", TORCHVISION)
def test_every_one_is_planned_at_its_own_size(name: str) -> None:
    network = classifier(name.removeprefix("torchvision."), device="meta")
    plan = slicing_plan(network, (3, 299, 299) if "inception" in name else (3, 224, 224))
    assert plan.outputs == 4
    assert plan.kernels == kernels_of(network)
    assert plan.channels > 0
    # Each channel's importance is read at one node.
    read = torch.cat([entries[entries < plan.channels] for entries in plan.observations.values()])
    assert torch.equal(read.unique(), torch.arange(plan.channels))


@pytest.mark.parametrize("name", ["resnet50", "shufflenet_v2_x1_0"])
def test_what_can_be_removed_is_nearly_everything(name: str) -> None:
    network = classifier(name, device="meta")
    plan = slicing_plan(network, (3, 224, 224))
    assert int(plan.kernels_per_channel.sum()) == plan.kernels
    # Halves that are shuffled stay independent: a channel is a kernel and, at most, the
    # depthwise one after it.
    if name.startswith("shufflenet"):
        assert int(plan.kernels_per_channel.max()) <= 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_b_16", r"encoder_layer_0.ln_1 \(LayerNorm\): its input mixes channels"),
        ("swin_t", r"in features.1.0.attn .*no rule"),
        ("swin_v2_t", r"features.1.0.attn.cpb_mlp.0 \(Linear\)"),
        ("maxvit_t", r"einsum in blocks.0.layers.0.layers.window_attention.attn_layer.1 .*no rule"),
    ],
)
def test_transformers_are_refused_by_layer_and_reason(name: str, reason: str) -> None:
    from torchvision import models

    with torch.device("meta"):
        network = models.get_model(name, weights=None)
    with pytest.raises(PlanError, match=reason):
        slicing_plan(network, (3, 224, 224))


def test_auxiliary_heads_play_no_part() -> None:
    from torchvision.models import googlenet

    torch.manual_seed(0)
    network = randomised(googlenet(num_classes=4, aux_logits=True, init_weights=False))
    plan = slicing_plan(network, (3, 32, 32))
    assert not any(name.startswith("aux") for name in plan.entries)
    kept = random_mask(plan, 0.6, 0)
    assert_decoded_equals_masked(network, plan, kept, pixels((3, 32, 32)), every_output=False)


def test_an_input_that_the_network_transforms_is_no_channel() -> None:
    from torchvision.models import googlenet

    torch.manual_seed(0)
    network = randomised(
        googlenet(num_classes=4, aux_logits=False, init_weights=False, transform_input=True)
    )
    plan = slicing_plan(network, (3, 32, 32))
    assert plan.template is None
    kept = random_mask(plan, 0.6, 0)
    assert_decoded_equals_masked(network, plan, kept, pixels((3, 32, 32)), every_output=False)
