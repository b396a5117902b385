from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from modularizer.analysis.importance import importance
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.rescnn import Residual, simple_rescnn
from modularizer.architectures.simcnn import simcnn
from tests.modularizer.networks import Dense
from tests.modularizer.oracle import pixels, randomised


def by_hooks(network: nn.Module, layers: Sequence[nn.Module], images: list[Tensor]) -> Tensor:
    """Mean over images of the sum of each feature map of each layer's output, class by class."""
    sums: dict[int, Tensor] = {}
    for index, layer in enumerate(layers):

        def look(_: nn.Module, args: tuple[Tensor, ...], made: Tensor, index: int = index) -> None:
            sums[index] = made.double().sum(dim=(0, 2, 3))

        layer.register_forward_hook(look)
    rows = []
    for of_class in images:
        with torch.no_grad():
            network(of_class)
        rows.append(torch.cat([sums[i] for i in range(len(layers))]) / len(of_class))
    return torch.stack(rows)


@pytest.mark.parametrize("batch_size", [1, 4, 500])
def test_importance_is_read_after_the_activation(batch_size: int) -> None:
    torch.manual_seed(0)
    network = simcnn(3, stages=((4, 5), (6,)), hidden=(5,), input_size=8, batch_norm=True).eval()
    images = [torch.randn(count, 3, 8, 8) for count in (3, 5, 1)]
    activations = [m for n, m in network.features.named_modules() if isinstance(m, nn.ReLU)]
    expected = by_hooks(network, activations, images)
    plan = slicing_plan(network, (3, 8, 8))
    found = importance(network, plan, [one.split(batch_size) for one in images])
    assert found.shape == (3, 15)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_importance_of_coupled_layers_is_read_after_the_addition() -> None:
    torch.manual_seed(0)
    network = simple_rescnn(2, width=4, in_channels=1, input_size=8).eval()
    images = [torch.randn(4, 1, 8, 8), torch.randn(2, 1, 8, 8)]
    relus = [m for m in network.modules() if isinstance(m, nn.ReLU)]
    (addition,) = (m for m in network.modules() if isinstance(m, Residual))
    plan = slicing_plan(network, (1, 8, 8))
    # conv 1, conv 2 coupled with conv 4 by the addition, conv 3
    assert [len(s.layers) for s in plan.segments] == [1, 2, 1]
    expected = by_hooks(network, [relus[0], addition, relus[2]], images)
    torch.testing.assert_close(
        importance(network, plan, [[one] for one in images]), expected, rtol=1e-5, atol=1e-5
    )


def test_importance_leaves_the_network_as_it_was() -> None:
    network = simcnn(2, stages=((4,),), hidden=(), input_size=4, batch_norm=True).train()
    plan = slicing_plan(network, (3, 4, 4))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(RuntimeError):
        importance(network, plan, [[torch.zeros(2, 1, 4, 4)]])
    importance(network, plan, [[torch.zeros(2, 3, 4, 4)]])
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
    assert not any(m._forward_hooks for m in network.modules())


def test_channels_that_are_concatenated_are_read_at_the_last_place_that_shows_them() -> None:
    network = randomised(Dense())
    plan = slicing_plan(network, (3, 4, 4))
    images = [pixels((3, 4, 4), 3), pixels((3, 4, 4), 2, seed=5)]
    last_norm, last_conv = network.get_submodule("norms.2"), network.get_submodule("convs.2")
    seen: list[Tensor] = []
    last_norm.register_forward_hook(lambda _, __, made: seen.append(made.relu()))
    last_conv.register_forward_hook(lambda _, __, made: seen.append(made))
    rows = []
    for of_class in images:
        with torch.no_grad():
            network(of_class)
        rows.append(torch.cat([made.sum((0, 2, 3)) for made in seen]) / len(of_class))
        seen.clear()
    # the stem and two convolutions after the last norm's activation, the third as it is
    torch.testing.assert_close(
        importance(network, plan, [[one] for one in images]), torch.stack(rows)
    )
