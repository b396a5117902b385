from __future__ import annotations

import pytest
import torch
from torch import nn

from modularizer.architectures.rescnn import rescnn
from modularizer.architectures.simcnn import simcnn
from modularizer.cost import count_cost
from modularizer.preprocessing import Preprocessing

RGB = Preprocessing(size=(32, 32), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)


def test_simcnn_costs_what_the_paper_says() -> None:
    cost = count_cost(simcnn(10).eval(), RGB)
    assert cost.kernels == 4224
    assert cost.parameters == 15_245_130
    assert round(cost.multiply_adds / 1e6, 2) == 313.73


def test_rescnn_costs_what_the_paper_says() -> None:
    cost = count_cost(rescnn(10).eval(), RGB)
    assert cost.kernels == 4288
    assert cost.parameters == 16_010_122
    assert round(cost.multiply_adds / 1e6, 2) == 431.17


def test_multiply_adds_of_convolutions_and_linear_layers_add_up_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 4 * 6, 5)
    )
    grey = Preprocessing(size=(4, 6), channels=1, mean=(0.5,), std=(0.25,))
    cost = count_cost(network, grey)
    assert cost.multiply_adds == 4 * 6 * 2 * 9 + 48 * 5
    assert cost.parameters == 2 * 9 + 2 + 48 * 5 + 5
    assert cost.kernels == 2


@pytest.mark.parametrize("training", [False, True])
def test_counting_leaves_the_network_as_it_was(training: bool) -> None:
    torch.manual_seed(0)
    network = rescnn(3, width_multiplier=1 / 64, input_size=64, batch_norm=True).train(training)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    count_cost(network, Preprocessing(size=(64, 64), channels=3, mean=(0,) * 3, std=(1,) * 3))
    assert all(module.training is training for module in network.modules())
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
