"""Networks whose code ties channels by shape, calls layers by keyword, or can't be followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modularizer.analysis.tracing import slicing_plan
from modularizer.analysis.trial import masks_removing_each
from modularizer.assembly.decode import decode
from modularizer.assembly.masking import verify_decoded
from modularizer.errors import PlanError

SHAPE = (3, 4, 4)


class Beside(nn.Module):
    """Each kernel's maximum, as wide as another layer's map and beside it: so the two go together.

    Layers are called by keyword.
    """

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 5, 3, padding=1)
        self.right = nn.Conv2d(3, 5, 3, padding=1)
        self.norm = nn.GroupNorm(1, 10)
        self.last = nn.Conv2d(10, 4, 1)
        self.out = nn.Linear(4 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.left(input=x).relu(), self.right(input=x).relu()
        highest = left.amax((2, 3), keepdim=True).expand_as(right)
        both = self.norm(input=torch.cat([right, highest], 1))
        scores: Tensor = self.out(input=self.last(input=both).relu().flatten(1))
        return scores


def test_what_has_to_have_the_same_width_goes_together_and_keywords_are_followed() -> None:
    torch.manual_seed(0)
    network = Beside().double().eval()
    plan = slicing_plan(network, SHAPE)
    assert [segment.layers for segment in plan.segments] == [("left", "right"), ("last",)]
    images = torch.randn(3, *SHAPE, dtype=torch.float64)
    for kept in masks_removing_each(plan):
        for output in range(3):
            module = decode(network, plan, kept, output=output)
            verify_decoded(
                module, network, plan, kept, output=output, images=images, tolerance=1e-10
            )


def test_segments_of_one_width_lose_different_numbers_of_channels() -> None:
    network = nn.Sequential(*(nn.Conv2d(6, 6, 1) for _ in range(5)), nn.Flatten(), nn.Linear(6, 2))
    plan = slicing_plan(network, (6, 1, 1))
    first = masks_removing_each(plan)[0]
    counts = [int(first[segment.channels].sum()) for segment in plan.segments]
    assert sorted(counts) == [1, 2, 3, 4, 5]


def test_a_convolution_as_the_head_counts_once_in_a_class_module() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.Conv2d(5, 7, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    plan = slicing_plan(network, SHAPE)
    kept = torch.tensor([True, False, True, True, True])
    module = decode(network, plan, kept, output=6)
    there = sum(one.out_channels for one in module.modules() if isinstance(one, nn.Conv2d))
    assert int(plan.kernels_kept(kept)) == there == 5
    assert plan.kernels == 12


class HeadOfTwo(nn.Module):
    """Two kernels of a convolution make a score; as many rounds as a buffer is long."""

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.ones(2))
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        for _ in range(len(self.steps)):
            x = x.relu()
        first, second = self.head(x).mean((2, 3)).chunk(2, 1)
        scores: Tensor = first + second
        return scores


def test_two_kernels_a_score_count_twice_and_a_buffer_s_length_may_be_asked_for() -> None:
    network = HeadOfTwo().double().eval()
    plan = slicing_plan(network, SHAPE)
    kept = torch.arange(8) % 3 > 0
    module = decode(network, plan, kept, output=1)
    there = sum(one.out_channels for one in module.modules() if isinstance(one, nn.Conv2d))
    assert int(plan.kernels_kept(kept)) == there == 7
    images = torch.randn(3, *SHAPE, dtype=torch.float64)
    verify_decoded(module, network, plan, kept, output=1, images=images, tolerance=1e-10)


class TwoArguments(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.out = nn.Linear(5, 2)

    def forward(self, x: Tensor, scale: Any = None) -> Tensor:
        x = self.conv(x)
        if scale is not None:
            x = x * scale
        scores: Tensor = self.out(x.mean((2, 3)))
        return scores


class ChosenByTensor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.out = nn.Linear(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.conv(x)[:, torch.tensor([2])].mean((2, 3)))
        return scores


class OneUnderTwoNames(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.out = nn.Linear(5, 2)
        self.p = nn.Parameter(torch.rand(5))
        self.q = self.p

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.conv(x).mean((2, 3)) * self.p + self.q)
        return scores


class NormedScores(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.out = nn.Linear(5, 2)
        self.norm = nn.LayerNorm(2)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.norm(self.out(self.conv(x).mean((2, 3))))
        return scores


class ScoresFedBack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.out = nn.Linear(5, 2)
        self.again = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        first: Tensor = self.out(self.conv(x).mean((2, 3)))
        scores: Tensor = first + self.again(first.relu())
        return scores


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (NormedScores, "^norm: computes with several scores at once"),
        (ScoresFedBack, "^again: computes with several scores at once"),
        (TwoArguments, "takes x, scale; .* takes images alone"),
        (ChosenByTensor, r"a tensor of shape \(1,\) is made in the network's code"),
        (OneUnderTwoNames, "p and q are one tensor|q and p are one tensor"),
    ],
)
def test_what_can_not_be_followed_is_refused_with_the_reason(
    build: Callable[[], nn.Module], reason: str
) -> None:
    with pytest.raises(PlanError, match=reason):
        slicing_plan(build(), SHAPE)
