from __future__ import annotations

import pytest
import torch
from torch import nn

from modularizer.architectures.simcnn import SimCNN, simcnn, simple_simcnn
from modularizer.errors import ArchitectureError


def conv_widths(network: nn.Module) -> list[int]:
    return [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_simcnn_has_the_kernels_and_parameters_of_the_paper() -> None:
    network = simcnn(10)
    assert conv_widths(network) == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert sum(conv_widths(network)) == 4224
    assert count(network) == 15_245_130


def test_simcnn_convolves_three_by_three_with_bias_and_without_batch_norm() -> None:
    layers = list(simcnn(10, width_multiplier=1 / 16).modules())
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            assert layer.kernel_size == (3, 3)
            assert layer.padding == (1, 1)
            assert layer.stride == (1, 1)
            assert layer.bias is not None
            assert layer.groups == 1
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in layers)
    assert sum(isinstance(layer, nn.Dropout) for layer in layers) == 2
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in layers) == 5


def test_the_width_multiplier_scales_convolutions_and_hidden_layers() -> None:
    network = simcnn(10, width_multiplier=0.25)
    assert conv_widths(network) == [16] * 2 + [32] * 2 + [64] * 3 + [128] * 6
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(128, 128), (128, 128), (128, 10)]


def test_a_tiny_width_multiplier_leaves_one_kernel_a_layer() -> None:
    network = simcnn(2, width_multiplier=1e-4)
    assert conv_widths(network) == [1] * 13
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 2)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 8), (1, 13), (3, 32)])
def test_simcnn_takes_other_inputs(channels: int, size: int, batch_norm: bool) -> None:
    network = simcnn(
        7,
        stages=((4, 4), (6,), (8,)),
        hidden=(5,),
        in_channels=channels,
        input_size=size,
        batch_norm=batch_norm,
    )
    assert network(torch.zeros(3, channels, size, size)).shape == (3, 7)
    norms = [m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == ([4, 4, 6, 8] if batch_norm else [])


@pytest.mark.parametrize("widths", [(64, 64), (64,) * 4, (8, 8)])
def test_the_simple_version_has_its_convolutions_and_one_linear_layer(
    widths: tuple[int, ...],
) -> None:
    network = simple_simcnn(10, widths=widths)
    assert conv_widths(network) == list(widths)
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    side = 32 >> len(widths)
    assert [(m.in_features, m.out_features) for m in linear] == [(widths[-1] * side * side, 10)]
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_an_input_that_is_too_small_is_refused_with_both_numbers() -> None:
    with pytest.raises(ArchitectureError, match="8 pixels allows 3 halvings, the network has 5"):
        simcnn(10, input_size=8)
    with pytest.raises(ArchitectureError, match="allows 0 halvings"):
        SimCNN(10, input_size=0)


def test_convolutions_start_with_he_variance_and_no_bias() -> None:
    torch.manual_seed(0)
    network = simcnn(10, width_multiplier=0.5)
    convs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    for layer in convs:
        expected = (2 / (layer.out_channels * 9)) ** 0.5
        assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.1)
        assert layer.bias is not None
        assert not layer.bias.detach().any()
