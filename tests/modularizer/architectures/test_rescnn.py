from __future__ import annotations

import pytest
import torch
from torch import nn

from modularizer.architectures.rescnn import Residual, rescnn, simple_rescnn
from modularizer.errors import ArchitectureError


def conv_widths(network: nn.Module) -> list[int]:
    return [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]


def test_rescnn_has_the_kernels_and_parameters_of_the_paper() -> None:
    network = rescnn(10)
    assert conv_widths(network) == [64, *[128] * 3, 256, *[512] * 7]
    assert sum(conv_widths(network)) == 4288
    assert sum(p.numel() for p in network.parameters()) == 16_010_122


def test_rescnn_pools_after_the_layers_that_the_paper_names() -> None:
    network = rescnn(10, width_multiplier=1 / 64)
    sizes: list[tuple[int, int]] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(
                lambda _m, _i, out: sizes.append((out.shape[1], out.shape[2]))
            )
    network(torch.zeros(1, 3, 32, 32))
    sides = [side for _, side in sizes]
    assert sides == [32, 32, 16, 16, 16, 8, 4, 4, 4, 2, 1, 1]


def test_a_residual_block_adds_its_input_to_what_two_convolutions_make_of_it() -> None:
    torch.manual_seed(0)
    block = Residual(3, batch_norm=False)
    first, second = (m for m in block.modules() if isinstance(m, nn.Conv2d))
    x = torch.randn(2, 3, 5, 5)
    expected = x + second(first(x).relu()).relu()
    assert torch.equal(block(x), expected)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(("channels", "size"), [(1, 32), (3, 32), (3, 64), (1, 70)])
def test_rescnn_takes_other_inputs(channels: int, size: int, batch_norm: bool) -> None:
    network = rescnn(
        4, width_multiplier=1 / 64, in_channels=channels, input_size=size, batch_norm=batch_norm
    ).eval()
    assert network(torch.zeros(2, channels, size, size)).shape == (2, 4)
    assert len([m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]) == 12 * batch_norm


def test_the_width_multiplier_scales_each_convolution() -> None:
    assert conv_widths(rescnn(10, width_multiplier=0.25)) == [16, *[32] * 3, 64, *[128] * 7]


def test_an_input_that_is_too_small_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="31 pixels allows 4 halvings, the network has 5"):
        rescnn(10, input_size=31)


def test_the_simple_version_has_four_convolutions_a_skip_and_one_linear_layer() -> None:
    network = simple_rescnn(10)
    assert conv_widths(network) == [64] * 4
    assert len([m for m in network.modules() if isinstance(m, Residual)]) == 1
    assert len([m for m in network.modules() if isinstance(m, nn.Linear)]) == 1
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    small = simple_rescnn(3, width=5, in_channels=1, input_size=8, batch_norm=True)
    assert small(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
