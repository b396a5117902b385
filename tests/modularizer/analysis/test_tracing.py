from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from modularizer.analysis.tracing import slicing_plan, traced
from modularizer.analysis.trial import masks_removing_each
from modularizer.architectures.rescnn import rescnn
from modularizer.architectures.simcnn import simcnn
from modularizer.errors import PlanError
from tests.modularizer.networks import NETWORKS


class Net(nn.Module):
    """Two convolutions and a linear layer, with a step of the test's own in between."""

    def __init__(self, step: Callable[[Net, Tensor], Any]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.also = nn.Conv2d(4, 4, 3, padding=1)
        self.other = nn.Conv2d(4, 2, 1)
        self.up = nn.ConvTranspose2d(4, 4, 3, padding=1)
        self.forgetful = nn.BatchNorm2d(4, track_running_stats=False)
        self.norm = nn.LocalResponseNorm(2)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.weighted = weight_norm(nn.Conv2d(4, 4, 3, padding=1))
        self.shift = nn.Parameter(torch.zeros(4, 4))
        self.mean = torch.zeros(4, 1, 1)
        self.row = nn.LayerNorm(4, elementwise_affine=False)
        self.head = nn.Linear(4 * 16, 3)
        self.step = step

    def forward(self, x: Tensor) -> Any:
        return self.step(self, self.conv(x).relu())


def flat(net: Net, x: Tensor) -> Tensor:
    scores: Tensor = net.head(x.flatten(1))
    return scores


def depends_on_data(net: Net, x: Tensor) -> Tensor:
    return flat(net, x if x.sum() > 0 else -x)


def attends(net: Net, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return flat(net, net.attention(tokens, tokens, tokens)[0])


def per_image(net: Net, x: Tensor) -> Tensor:
    return torch.cat([flat(net, one[None]) for one in x])


def changes_half(net: Net, x: Tensor) -> Tensor:
    half = x.chunk(2, dim=1)[1]
    half.relu_()
    return flat(net, x)


def rotates_features(net: Net, x: Tensor) -> Tensor:
    features = x.flatten(1)
    return flat(net, torch.cat([features[:, 16:], features[:, :16]], 1))


def convolution_and_linear_score(net: Net, x: Tensor) -> Tensor:
    return torch.cat([net.also(x).mean((2, 3)), flat(net, x)], 1)


def own_constant(net: Net, x: Tensor) -> Tensor:
    return flat(net, x * torch.arange(4.0).view(4, 1, 1))


REFUSED: dict[str, tuple[Callable[[Net, Tensor], Any], str]] = {
    "unknown layer": (lambda net, x: flat(net, net.up(x)), r"up \(ConvTranspose2d\): no rule"),
    "norm over neighbours": (lambda net, x: flat(net, net.norm(x)), r"norm \(LocalResponseNorm\)"),
    "attention": (attends, r"attention \(MultiheadAttention\)"),
    "computed weight": (lambda net, x: flat(net, net.weighted(x)), r"weighted"),
    "unknown function": (lambda net, x: flat(net, torch.cumsum(x, 1)), r"cumsum.*no rule"),
    "unknown method": (lambda net, x: flat(net, x.softmax(1)), r"softmax.*no rule"),
    "matrix product": (lambda net, x: flat(net, x @ x), r"matmul.*no rule"),
    "values that are asked for": (lambda net, x: flat(net, x * x.max()), r"max.*no rule"),
    "mean over channels": (lambda net, x: net.head(x.mean(1).repeat(1, 4, 1)), r"mean.*mixes"),
    "mean over everything": (lambda net, x: net.head(x.mean()), r"mean.*over everything"),
    "mean over images": (lambda net, x: flat(net, x.mean(0, keepdim=True)), r"mean.*dimension 0"),
    "data-dependent control flow": (
        depends_on_data,
        r"Net can't be traced in itself \(Net\), test_tracing.py line \d+: .*[Cc]ontrol flow",
    ),
    "a loop over images": (per_image, r"can't be traced in .*test_tracing.py line \d+"),
    "mean over a parameter": (
        lambda net, x: flat(net, x * net.shift.mean(0).view(4, 1, 1)),
        "mean.*over dimension 0",
    ),
    "a tensor of the code's own": (
        own_constant,
        r"shape \(4, 1, 1\) is made in the network's code",
    ),
    "a tensor that is no buffer": (
        lambda net, x: flat(net, x * net.mean),
        "mean: no parameter or buffer",
    ),
    "dropout that never ends": (lambda net, x: flat(net, F.dropout(x)), "dropout.*at random"),
    "feature maps as the answer": (lambda net, x: x, r"\(N, classes\); found \(1, 4, 4, 4\)"),
    "a pair as the answer": (lambda net, x: (flat(net, x), x), r"\(N, classes\); found tuple"),
    "no batch": (lambda net, x: flat(net, x)[0], r"\(N, classes\); found \(3,\)"),
    "features that are rotated by a fixed number": (rotates_features, "once kernels are removed"),
    "the first channel cut off": (
        lambda net, x: net.head(F.pad(x, (0, 0, 0, 0, -1, 1)).flatten(1)),
        "once kernels are removed, .*(conv|head|pad)",
    ),
    "two convolutions that make scores": (
        lambda net, x: torch.cat([net.also(x), net.other(x)], 1).mean((2, 3)),
        r"once a single score is kept, other \(Conv2d\) has no kernel left",
    ),
    "a convolution and a linear layer that make scores": (
        convolution_and_linear_score,
        r"once a single score is kept, also \(Conv2d\) has no kernel left",
    ),
    "a batch norm without running statistics": (
        lambda net, x: flat(net, net.forgetful(x)),
        r"forgetful \(BatchNorm2d\): keeps no running statistics.*other images",
    ),
    "no batch of features": (
        lambda net, x: net.head(x.flatten(1)[:, :64].squeeze()),
        r"head \(Linear\): its input has lost its batch dimension",
    ),
    "a selection of what mixes channels": (
        lambda net, x: flat(net, torch.cat([x, net.also(x)], 2)[:, 2:].relu()),
        "getitem.*: selects positions that mix channels",
    ),
    "twice the same scores": (
        lambda net, x: torch.cat([flat(net, x), flat(net, x)], dim=1),
        "outputs of one layer each",
    ),
    "channels along another dimension": (
        lambda net, x: flat(net, net.also(x.permute(0, 2, 1, 3))),
        r"also \(Conv2d\): its input mixes channels",
    ),
    "a wrong size": (lambda net, x: net.head(x[:, :2].flatten(1)), r"head \(Linear\): fails"),
    "a linear layer that does not fit": (lambda net, x: net.head(x.mean((2, 3))), "head.*fails"),
    "a view to a fixed width": (
        lambda net, x: net.head(x.view(-1, 64)),
        r"once kernels are removed, view.*node view.*a view to a fixed width",
    ),
    "a number that follows the width": (
        lambda net, x: flat(net, x / x.shape[1]),
        r"once kernels are removed, truediv computes with",
    ),
    "a number read from a layer": (
        lambda net, x: flat(net, x / net.conv.out_channels),
        r"once kernels are removed, truediv computes with",
    ),
    "a way that depends on the width": (
        lambda net, x: flat(net, x if net.conv.out_channels == 4 else -x),
        "once kernels are removed, its code takes another way",
    ),
    "a change in place of what is used again": (changes_half, "relu_: changes getitem.* in place"),
    "half of the width, after an activation in between": (
        lambda net, x: flat(net, x.view(1, 2, 2, 4, 4).relu().transpose(1, 2).flatten(1, 2)),
        "once kernels are removed, view.*fails",
    ),
}


def state(network: nn.Module) -> list[Any]:
    return [
        [(name, id(p), p.requires_grad, p.device.type) for name, p in network.named_parameters()],
        [(name, id(b)) for name, b in network.named_buffers()],
        [
            (name, id(m), m.training, len(m._forward_hooks), len(m._forward_pre_hooks))
            for name, m in network.named_modules()
        ],
    ]


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_can_not_be_sliced_is_refused_by_name_and_left_alone(name: str) -> None:
    step, message = REFUSED[name]
    network = Net(step)
    network.head.weight.requires_grad_(False)
    network.also.eval()
    before, weights = state(network), copy.deepcopy(network.state_dict())
    with pytest.raises(PlanError, match=f"(?s){message}") as caught:
        slicing_plan(network, (3, 4, 4))
    assert "Traceback" not in str(caught.value)
    assert "While executing" not in str(caught.value)
    assert state(network) == before
    assert all(torch.equal(weights[key], now) for key, now in network.state_dict().items())


@pytest.mark.parametrize("name", NETWORKS)
def test_each_channel_that_can_be_removed_is_removed_by_a_trial_mask(name: str) -> None:
    build, shape = NETWORKS[name]
    plan = slicing_plan(build(), shape)
    masks = masks_removing_each(plan)
    assert len(masks) <= 3
    for kept in masks:
        plan.alive(kept, output=None)
    alone = {one.item() for one in plan.layer_channels.values() if len(one) == 1}
    assert set((~torch.stack(masks)).any(0).logical_not().nonzero().flatten().tolist()) == alone


def test_the_net_of_these_tests_is_fine_without_a_step_of_its_own() -> None:
    assert slicing_plan(Net(flat), (3, 4, 4)).channels == 4


def test_a_change_in_place_of_what_is_not_used_again_is_fine() -> None:
    def step(net: Net, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        return flat(net, torch.cat([left, right.relu_()], dim=1))

    assert slicing_plan(Net(step), (3, 4, 4)).template is not None


def test_shared_weights_are_refused_with_both_names() -> None:
    network = Net(lambda net, x: flat(net, net.also(x)))
    other = nn.Sequential(network, nn.Linear(3, 3), nn.Linear(3, 3))
    other[2].weight = other[1].weight
    with pytest.raises(PlanError, match=r"2\.weight and 1\.weight are one tensor"):
        slicing_plan(other, (3, 4, 4))


def test_an_input_of_the_wrong_shape_is_refused_with_the_layer() -> None:
    with pytest.raises(PlanError, match=r"features\.0\.0 \(Conv2d\): fails"):
        slicing_plan(simcnn(3, width_multiplier=1 / 64), (1, 32, 32))
    with pytest.raises(PlanError, match="classifier"):
        slicing_plan(simcnn(3, width_multiplier=1 / 64), (3, 64, 64))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_planning_leaves_the_network_as_it_was(batch_norm: bool) -> None:
    network = rescnn(3, width_multiplier=1 / 32, batch_norm=batch_norm).train()
    network.get_submodule("features.0").eval()
    seen: list[int] = []
    network.classifier.register_forward_hook(lambda *_: seen.append(1))
    before, weights = state(network), copy.deepcopy(network.state_dict())
    rng = torch.get_rng_state()
    slicing_plan(network, (3, 32, 32))
    assert state(network) == before
    assert all(torch.equal(weights[key], now) for key, now in network.state_dict().items())
    assert torch.equal(rng, torch.get_rng_state())


def test_the_plan_of_the_paper_s_networks_counts_their_kernels() -> None:
    plain = slicing_plan(simcnn(10), (3, 32, 32))
    assert (plain.kernels, plain.channels, plain.outputs) == (4224, 4224, 10)
    assert [len(s) for s in plain.segments] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    residual = slicing_plan(rescnn(10), (3, 32, 32))
    assert residual.kernels == 4288
    assert residual.channels == 4288 - 128 - 512 - 512
    assert [len(s.layers) for s in residual.segments].count(2) == 3
    assert int(residual.kernels_per_channel.sum()) == 4288


def test_networks_run_in_other_threads_while_one_is_traced() -> None:
    running, images = rescnn(3, width_multiplier=1 / 32).eval(), torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = running(images)
    network = simcnn(3, width_multiplier=1 / 32).eval()
    graph = str(traced(network))
    is_over = Event()

    def trace_until_it_is_over() -> None:
        while not is_over.is_set():
            assert str(traced(network)) == graph

    with ThreadPoolExecutor() as pool:
        tracing = pool.submit(trace_until_it_is_over)
        try:
            with torch.inference_mode():
                assert all(torch.equal(running(images), expected) for _ in range(10))
        finally:
            is_over.set()
        tracing.result()


def test_networks_are_traced_in_several_threads_at_once() -> None:
    call, find = nn.Module.__call__, nn.Module.__getattr__
    networks = [rescnn(3, width_multiplier=1 / 32), simcnn(3, width_multiplier=1 / 32)] * 4
    expected = [str(traced(network)) for network in networks]
    with ThreadPoolExecutor(len(networks)) as pool:
        for _ in range(5):
            assert [str(graph) for graph in pool.map(traced, networks)] == expected
    assert nn.Module.__call__ is call
    assert nn.Module.__getattr__ is find


def test_segments_and_their_layers_come_in_the_order_they_run() -> None:
    class Cat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.third = nn.Conv2d(3, 5, 1)
            self.second = nn.Conv2d(3, 3, 1)
            self.first = nn.Conv2d(3, 2, 1)
            self.out = nn.Linear(5 * 16, 3)

        def forward(self, x: Tensor) -> Tensor:
            a, b = self.first(x), self.second(x)
            scores: Tensor = self.out((torch.cat([a, b], 1) + self.third(x)).flatten(1))
            return scores

    (segment,) = slicing_plan(Cat(), (3, 4, 4)).segments
    assert segment.layers == ("first", "second", "third")


@pytest.mark.parametrize("function", [torch.add, torch.mul])
def test_an_activation_that_comes_by_keyword_couples_too(function: Callable[..., Tensor]) -> None:
    network = Net(lambda net, x: flat(net, function(x, other=net.also(x))))
    plan = slicing_plan(network, (3, 4, 4))
    assert [segment.layers for segment in plan.segments] == [("conv", "also")]


def test_a_network_in_float64_or_half_is_planned_alike() -> None:
    network = rescnn(3, width_multiplier=1 / 32, batch_norm=True)
    plan = slicing_plan(network, (3, 32, 32))
    for dtype in (torch.float64, torch.bfloat16):
        assert slicing_plan(network.to(dtype), (3, 32, 32)).segments == plan.segments
