from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.rescnn import simple_rescnn
from modularizer.assembly.decode import decode
from modularizer.assembly.masking import gated, masked, verify_decoded
from modularizer.errors import DecodeError
from tests.modularizer.exactness import random_mask
from tests.modularizer.networks import NETWORKS
from tests.modularizer.oracle import pixels, randomised


def small() -> tuple[nn.Module, SlicingPlan, Tensor, Tensor]:
    torch.manual_seed(0)
    network = simple_rescnn(3, width=5, in_channels=1, input_size=8, batch_norm=True)
    plan = slicing_plan(network, (1, 8, 8))
    kept = torch.arange(plan.channels) % 2 == 0
    return network, plan, kept, torch.randn(4, 1, 8, 8)


def hooks(network: nn.Module) -> int:
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in network.modules())


def test_a_decoded_network_passes_and_its_difference_is_told() -> None:
    network, plan, kept, images = small()
    network.train()
    for output in range(3):
        decoded = decode(network, plan, kept, output=output)
        difference = verify_decoded(decoded, network, plan, kept, output=output, images=images)
        assert 0 <= difference < 1e-5
    assert all(module.training for module in network.modules())
    assert hooks(network) == 0


def test_a_decoded_network_of_another_output_or_mask_is_refused() -> None:
    network, plan, kept, images = small()
    for wrong in (
        decode(network, plan, kept, output=1),
        decode(network, plan, ~kept, output=0),
        decode(network, plan, torch.ones_like(kept), output=0),
    ):
        with pytest.raises(DecodeError, match="decoded and masked scores differ by"):
            verify_decoded(wrong, network, plan, kept, output=0, images=images)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_scores_that_are_not_finite_are_refused(value: float) -> None:
    network, plan, kept, images = small()
    decoded = decode(network, plan, kept, output=0)
    with torch.no_grad():
        next(decoded.parameters()).fill_(value)
    with pytest.raises(DecodeError, match="differ by"):
        verify_decoded(decoded, network, plan, kept, output=0, images=images)
    with torch.no_grad():
        next(network.parameters()).fill_(value)
    with pytest.raises(DecodeError, match="not finite"):
        verify_decoded(decoded, network, plan, kept, output=0, images=images)
    assert hooks(network) == 0


def test_a_network_whose_code_does_not_follow_is_explained() -> None:
    network, plan, kept, images = small()
    decoded = decode(network, plan, kept, output=0)
    wider = nn.Sequential(decoded, nn.Linear(2, 2))
    with pytest.raises(DecodeError, match="fails where the whole one runs"):
        verify_decoded(wider, network, plan, kept, output=0, images=images)
    assert hooks(network) == 0


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_wrong_module_is_refused_however_small_the_scores(scale: float) -> None:
    network, plan, kept, images = small()
    last = next(m for m in reversed(list(network.modules())) if isinstance(m, nn.Linear))
    with torch.no_grad():
        for tensor in last.parameters():
            tensor.mul_(scale)
    right = decode(network, plan, kept, output=0)
    assert verify_decoded(right, network, plan, kept, output=0, images=images) < 1e-5
    with pytest.raises(DecodeError, match="differ by"):
        verify_decoded(
            decode(network, plan, ~kept, output=0), network, plan, kept, output=0, images=images
        )


def test_scores_that_are_all_zero_are_measured_by_the_whole_network() -> None:
    head = nn.Linear(2, 2, bias=False)
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), head)
    with torch.no_grad():
        head.weight[:, 1] = 0
    plan = slicing_plan(network, (1, 1, 1))
    silent, heard = torch.tensor([False, True]), torch.tensor([True, False])
    images = 1e-3 * torch.rand(4, 1, 1, 1)
    right = decode(network, plan, silent, output=0)
    assert verify_decoded(right, network, plan, silent, output=0, images=images) == 0
    wrong = decode(network, plan, heard, output=0)
    with pytest.raises(DecodeError, match="differ by"):
        verify_decoded(wrong, network, plan, silent, output=0, images=images)
    with torch.no_grad():
        head.weight.zero_()
    mute = decode(network, plan, heard, output=0)
    assert verify_decoded(mute, network, plan, heard, output=0, images=images) == 0


class Fails(nn.Module):
    """Raises what it was given."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error


@pytest.mark.parametrize("error", [IndexError("out of range"), TypeError("no"), ValueError("no")])
def test_a_decoded_network_that_fails_in_any_way_is_refused(error: Exception) -> None:
    network, plan, kept, images = small()
    with pytest.raises(DecodeError, match="fails where the whole one runs"):
        verify_decoded(Fails(error), network, plan, kept, output=0, images=images)
    assert hooks(network) == 0


def test_a_decoded_network_with_another_number_of_scores_is_refused() -> None:
    network, plan, kept, images = small()
    for wrong in (decode(network, plan, kept), nn.Sequential(nn.Flatten(0))):
        with pytest.raises(DecodeError, match=r"one score an image, \(4, 1\); found"):
            verify_decoded(wrong, network, plan, kept, output=0, images=images)


def test_masking_ends_with_its_context_also_on_an_error() -> None:
    network, plan, kept, images = small()
    network.eval()
    with torch.no_grad():
        whole = network(images)
        with masked(network, plan, kept):
            assert not torch.equal(network(images), whole)
        with pytest.raises(ZeroDivisionError), masked(network, plan, kept):
            raise ZeroDivisionError
        with pytest.raises(DecodeError), masked(network, plan, kept[1:]):
            pass
        assert torch.equal(network(images), whole)
    assert hooks(network) == 0


def test_rows_of_gates_run_side_by_side_and_take_gradients() -> None:
    network, plan, _, images = small()
    network.eval()
    gates = torch.rand(2, plan.channels).round().requires_grad_()
    with gated(network, plan, gates):
        both = network(images.repeat(2, 1, 1, 1))
    for row, found in zip(gates.detach(), both.split(4), strict=True):
        with torch.no_grad(), gated(network, plan, row[None]):
            torch.testing.assert_close(found, network(images), rtol=1e-5, atol=1e-5)
    (slope,) = torch.autograd.grad(both[:4].sum(), gates)
    assert float(slope[0].abs().max()) > 0
    assert float(slope[1].abs().max()) == 0


@pytest.mark.parametrize("name", ["layer_normed", "normed_over_all"])
def test_gates_weigh_the_statistics_of_norms_over_channels(name: str) -> None:
    build, shape = NETWORKS[name]
    network = randomised(build())
    plan = slicing_plan(network, shape)
    images = pixels(shape)
    gates = torch.stack([random_mask(plan, 0.5, seed).double() for seed in range(2)])
    with torch.no_grad(), gated(network, plan, gates):
        both = network(images.repeat(2, 1, 1, 1))
    for row, found in zip(gates.bool(), both.split(len(images)), strict=True):
        with torch.no_grad():
            torch.testing.assert_close(found, decode(network, plan, row)(images))
    between = (0.2 + 0.7 * gates).requires_grad_()

    def score(gates: Tensor) -> Tensor:
        with gated(network, plan, gates):
            made: Tensor = network(images.repeat(2, 1, 1, 1))
        return made

    assert torch.autograd.gradcheck(score, (between,), eps=1e-6, atol=1e-4)
    ones = torch.ones(1, plan.channels, dtype=torch.float64)
    with torch.no_grad():
        with gated(network, plan, ones):
            found = network(images)
        torch.testing.assert_close(found, network(images), rtol=1e-10, atol=1e-10)
    assert hooks(network) == 0
