"""Random networks and random masks: decoded equals masked."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from modularizer.analysis.tracing import slicing_plan
from tests.modularizer.exactness import assert_decoded_equals_masked, channel_of, random_mask
from tests.modularizer.networks import ChannelsFirstNorm
from tests.modularizer.oracle import dependence, pixels, randomised

ACTIVATIONS = (nn.ReLU, nn.SiLU, nn.Hardswish, nn.GELU, nn.Tanh, nn.Identity)


def norm_of(width: int, draw: random.Random) -> nn.Module:
    group = draw.choice([size for size in (1, 2, 3) if width % size == 0])
    return draw.choice(
        [
            nn.Identity(),
            nn.BatchNorm2d(width),
            nn.InstanceNorm2d(width, affine=True),
            nn.GroupNorm(1, width),
            nn.GroupNorm(width // group, width),
            ChannelsFirstNorm(width),
        ]
    )


def block_of(width: int, made: int, draw: random.Random) -> nn.Sequential:
    """A convolution, a norm and an activation, in one of two orders."""
    groups = draw.choice([n for n in (1, 1, 2, 3, width) if width % n == 0 and made % n == 0])
    convolution = nn.Conv2d(
        width, made, draw.choice([1, 3]), padding="same", groups=groups, bias=draw.random() < 0.7
    )
    activation = draw.choice(ACTIVATIONS)()
    if draw.random() < 0.3:
        return nn.Sequential(norm_of(width, draw), activation, convolution)
    return nn.Sequential(convolution, norm_of(made, draw), activation)


class Residual(nn.Module):
    def __init__(self, width: int, draw: random.Random) -> None:
        super().__init__()
        inner = draw.randint(2, 6)
        self.body = nn.Sequential(block_of(width, inner, draw), block_of(inner, width, draw))
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


class Branches(nn.Module):
    """Two branches of widths that differ, concatenated with or without what came in."""

    def __init__(self, width: int, draw: random.Random) -> None:
        super().__init__()
        left, right = draw.randint(1, 4), draw.randint(1, 4)
        self.left, self.right = block_of(width, left, draw), block_of(width, right, draw)
        self.dense = draw.random() < 0.5
        self.width = left + right + (width if self.dense else 0)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.left(x), self.right(x)]
        return torch.cat([x, *maps] if self.dense else maps, dim=1)


class PartlyAdded(nn.Module):
    """Two branches, concatenated, meet a third one: each is coupled with a part of it."""

    def __init__(self, width: int, draw: random.Random) -> None:
        super().__init__()
        self.branches = Branches(width, draw)
        self.width = self.branches.width
        self.third = block_of(width, self.width, draw)

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x) - 0.5 * self.third(x)  # type: ignore[no-any-return]


class Excited(nn.Module):
    def __init__(self, width: int, draw: random.Random) -> None:
        super().__init__()
        inner = draw.randint(1, 3)
        layer = draw.choice([nn.Conv2d, nn.Linear])
        size = (1,) if layer is nn.Conv2d else ()
        self.down, self.up = layer(width, inner, *size), layer(inner, width, *size)
        self.flat = layer is nn.Linear
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        gate = F.adaptive_avg_pool2d(x, 1)
        gate = self.up(F.relu(self.down(gate.flatten(1) if self.flat else gate)))
        gate = torch.sigmoid(gate)
        return x * (gate[:, :, None, None] if self.flat else gate)


class HalfShuffled(nn.Module):
    """A part goes through a block, both are joined, and shuffled where that is possible."""

    def __init__(self, width: int, draw: random.Random) -> None:
        super().__init__()
        self.cut = draw.randint(1, width - 1)
        self.block = block_of(width - self.cut, width - self.cut, draw)
        self.ways = draw.choice([n for n in (1, 2, 3) if width % n == 0])
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x[:, : self.cut], self.block(x[:, self.cut :])], 1)
        count, channels, height, width = x.shape
        x = x.reshape(count, self.ways, channels // self.ways, height, width)
        return x.transpose(1, 2).flatten(1, 2)


class Scaled(nn.Module):
    def __init__(self, width: int, draw: random.Random) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width, 1, 1))
        self.shift = nn.Parameter(torch.zeros(width))
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x + self.shift.view(1, -1, 1, 1)


class CutFeatures(nn.Module):
    """Features, some after a linear layer and some without one, then scores of some rows."""

    def __init__(self, width: int, draw: random.Random) -> None:
        super().__init__()
        self.cut = draw.randint(1, width - 1)
        self.hidden = nn.Linear(self.cut, 4)
        self.rows = slice(*draw.choice([(0, None, 2), (2, 5, 1), (1, 4, 1), (1, None, 2)]))
        self.swapped = draw.random() < 0.5
        self.out = nn.Linear(4 + width - self.cut, 6 if self.rows.step == 2 else 5)

    def forward(self, x: Tensor) -> Tensor:
        features = x.mean((2, 3))
        taken, rest = features.split([self.cut, features.shape[1] - self.cut], 1)
        scores: Tensor = self.out(torch.cat([rest, self.hidden(taken).relu()], 1))[:, self.rows]
        return torch.cat([scores[:, 2:], scores[:, :2]], 1) if self.swapped else scores


class ConvolutionScores(nn.Module):
    """Scores are means of a convolution's maps: some of them, or differences of two."""

    def __init__(self, width: int, draw: random.Random) -> None:
        super().__init__()
        self.differences = draw.random() < 0.5
        self.head = nn.Conv2d(width, draw.randint(7, 8), 1)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.head(x)
        maps = maps[:, :3] - maps[:, 3:6] if self.differences else maps[:, 1:6:2]
        return maps.mean((2, 3))


PIECES = (Residual, Residual, Branches, PartlyAdded, Excited, HalfShuffled, Scaled)


def random_network(seed: int) -> tuple[nn.Module, tuple[int, int, int]]:
    draw = random.Random(seed)
    torch.manual_seed(seed)
    channels = draw.choice([1, 2, 3, 5])
    width = draw.choice([4, 6, 8])
    pieces: list[nn.Module] = [block_of(channels, width, draw)]
    pools = 0
    for _ in range(draw.randint(1, 4)):
        piece = draw.choice(PIECES)(width, draw)
        pieces.append(piece)
        width = piece.width
        if pools < 2 and draw.random() < 0.4:
            pieces.append(draw.choice([nn.MaxPool2d, nn.AvgPool2d])(2))
            pools += 1
    head = draw.random()
    if head < 0.4:
        pieces.append((CutFeatures if head < 0.2 else ConvolutionScores)(width, draw))
        return nn.Sequential(*pieces), (channels, 4, 8)
    after = 4 // 2**pools * (8 // 2**pools)
    hidden = draw.randint(2, 5)
    if draw.random() < 0.5:
        pieces += [nn.Flatten(), nn.Linear(width * after, hidden), nn.ReLU()]
    else:
        pieces += [nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten(), nn.Linear(width * 2, hidden)]
    return nn.Sequential(*pieces, nn.Linear(hidden, 3)), (channels, 4, 8)


@settings(max_examples=60)
@given(seed=st.integers(0, 1_000_000), share=st.floats(0, 1))
def test_random_networks_are_decoded_exactly(seed: int, share: float) -> None:
    network, shape = random_network(seed)
    network = randomised(network, seed)
    plan = slicing_plan(network, shape)
    for draw in range(2):
        kept = random_mask(plan, share, seed + draw)
        assert_decoded_equals_masked(network, plan, kept, pixels(shape, seed=seed))


@settings(max_examples=25)
@given(seed=st.integers(0, 1_000_000))
def test_random_networks_are_coupled_as_perturbation_couples_them(seed: int) -> None:
    network, shape = random_network(seed)
    network = randomised(network, seed)
    plan = slicing_plan(network, shape)
    by_plan: dict[int, set[tuple[str, int]]] = {}
    for kernel, channel in channel_of(plan).items():
        by_plan.setdefault(channel, set()).add(kernel)
    found = dependence(network, shape)
    assert set(map(frozenset, by_plan.values())) == set(found.together)
