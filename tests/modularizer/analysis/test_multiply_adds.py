from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modularizer.analysis.keeping import keeping_each_layer
from modularizer.analysis.multiply_adds import multiply_adds_model
from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.rescnn import rescnn
from modularizer.architectures.simcnn import simcnn
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.decode import decode
from modularizer.cost import count_cost
from modularizer.preprocessing import Preprocessing

RGB = Preprocessing(size=(32, 32), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)


class Joined(nn.Module):
    """A concatenation before a pool and a batch norm without scales."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, stride=2)
        self.second = nn.Conv2d(3, 4, 3, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(9, affine=False)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.out = nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.first(x).relu(), self.second(x)], dim=1)
        scores: Tensor = self.out(self.pool(self.norm(both)).flatten(1))
        return scores


class Cut(nn.Module):
    """Halves of the channels, a batch norm and pools on each, joined over space and channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 6, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.last = nn.BatchNorm1d(10, affine=False)
        self.out = nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.first(x).relu().chunk(2, dim=1)
        left, right = self.norm(left), self.second(right)
        both = [self.pool(torch.cat([left, left], dim=2)), self.pool(right)]
        scores: Tensor = self.out(self.last(torch.cat(both, dim=1).flatten(1)))
        return scores[:, 1:4]


class Normed(nn.Module):
    """Norms of all kinds, and maps that are made larger."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, stride=2)
        self.instance = nn.InstanceNorm2d(6)
        self.second = nn.Conv2d(6, 4, 3, stride=2)
        self.whole = nn.GroupNorm(1, 4)
        self.up = nn.Upsample(scale_factor=2)
        self.third = nn.Conv2d(4, 6, 3)
        self.pairs = nn.GroupNorm(3, 6)
        self.scale = nn.Parameter(torch.ones(6))
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(self.whole(self.second(self.instance(self.first(x)))))
        x = F.interpolate(self.pairs(self.third(x)), scale_factor=2, mode="bilinear")
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.scale.shape, self.scale)
        scores: Tensor = self.out(x.mean((1, 2)))
        return scores


NETWORKS = {
    "simcnn": lambda: simcnn(4, width_multiplier=1 / 8),
    "simcnn of 64 pixels, two halvings": lambda: simcnn(
        3, stages=((5,), (7, 6)), hidden=(9,), input_size=32, batch_norm=True
    ),
    "rescnn": lambda: rescnn(4, width_multiplier=1 / 16, batch_norm=True),
    "resnet18": lambda: build_network(
        ArchitectureSpec(name="torchvision.resnet18", arguments={"num_classes": 3})
    ),
    "concatenation": Joined,
    "channels cut": Cut,
    "norms": Normed,
}


def random_masks(plan: SlicingPlan, seed: int = 0) -> Tensor:
    share = torch.tensor([0.3, 0.6, 0.9])[torch.arange(plan.outputs) % 3]
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(plan.outputs, plan.channels, generator=generator) < share[:, None]
    return keeping_each_layer(masks, torch.zeros(plan.channels), plan)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_masks_cost_is_fvcore_s_count_of_the_decoded_network(name: str) -> None:
    network = NETWORKS[name]().eval()
    plan = slicing_plan(network, (3, 32, 32))
    model = multiply_adds_model(network, plan, (3, 32, 32))
    assert model.whole == count_cost(network, RGB).multiply_adds
    masks = random_masks(plan)
    for output, found in enumerate(model.of_class_modules(masks).tolist()):
        decoded = decode(network, plan, masks[output], output=output)
        assert found == count_cost(decoded, RGB).multiply_adds


def test_the_paper_s_simcnn_costs_313_73_million() -> None:
    network = simcnn(10)
    model = multiply_adds_model(network, slicing_plan(network, (3, 32, 32)), (3, 32, 32))
    assert round(model.whole / 1e6, 2) == 313.73


def test_gradients_say_what_opening_a_gate_costs() -> None:
    network = rescnn(2, width_multiplier=1 / 32, batch_norm=True)
    plan = slicing_plan(network, (3, 32, 32))
    model = multiply_adds_model(network, plan, (3, 32, 32))
    gates = random_masks(plan).double().requires_grad_()
    (slope,) = torch.autograd.grad(model.of_class_modules(gates)[0], gates)
    assert float(slope[1].abs().max()) == 0
    before = gates.detach()
    for channel in range(plan.channels):
        moved = before.clone()
        moved[0, channel] += 0.5
        gained = float((model.of_class_modules(moved) - model.of_class_modules(before))[0])
        coupled = plan.kernels_per_channel[channel] > 1  # their product curves upwards
        expected = 0.5 * float(slope[0, channel])
        assert gained >= expected - 1e-6 if coupled else gained == pytest.approx(expected)


def test_nothing_of_the_network_is_changed() -> None:
    network = rescnn(2, width_multiplier=1 / 32, batch_norm=True).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    multiply_adds_model(network, slicing_plan(network, (3, 32, 32)), (3, 32, 32))
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
