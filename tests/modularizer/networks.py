"""Small networks, each with something that slicing has to get right."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modularizer.architectures.rescnn import rescnn, simple_rescnn
from modularizer.architectures.simcnn import simcnn, simple_simcnn


class NonSquare(nn.Module):
    """Functional throughout; flattens maps of 2 x 3 pixels; batch norm before the activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.second = nn.Conv2d(5, 4, (3, 1), stride=(1, 1), padding=(1, 0), bias=False)
        self.hidden = nn.Linear(4 * 2 * 3, 6)
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.norm(self.first(x)))
        x = F.max_pool2d(torch.sigmoid(self.second(x)), 2)
        x = F.avg_pool2d(x, 2)
        x = x.view(x.size(0), -1)
        scores: Tensor = self.out(torch.tanh(self.hidden(x)))
        return scores


class PreActivation(nn.Module):
    """Batch norms before convolutions, a skip around them, a mean over space as the head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.norm_1 = nn.BatchNorm2d(4)
        self.conv_1 = nn.Conv2d(4, 6, 3, padding=1)
        self.norm_2 = nn.BatchNorm2d(6)
        self.conv_2 = nn.Conv2d(6, 4, 3, padding=1)
        self.norm_3 = nn.BatchNorm2d(4)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.conv_2(self.norm_2(self.conv_1(self.norm_1(x).relu())).relu())
        scores: Tensor = self.out(self.norm_3(x).relu().mean((2, 3)))
        return scores


class Joined(nn.Module):
    """Concatenation, then an addition that couples both parts with a third convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 2, 3, padding=1)
        self.right = nn.Conv2d(3, 3, 3, padding=1)
        self.middle = nn.Conv2d(3, 4, 1)
        self.third = nn.Conv2d(4, 5, 3, padding=1)
        self.out = nn.Linear(5 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.left(x), self.right(x)], dim=1)
        total = (both + self.third(self.middle(x).relu())).relu()
        scores: Tensor = self.out(torch.flatten(total, 1))
        return scores


class Squeezed(nn.Module):
    """Squeeze and excitation by linear layers; a convolution as the head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.down = nn.Linear(6, 2)
        self.up = nn.Linear(2, 6)
        self.head = nn.Conv2d(6, 3, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        gate = torch.sigmoid(self.up(self.down(self.pool(x).flatten(1)).relu()))
        x = x * gate.view(gate.size(0), -1, 1, 1)
        scores: Tensor = self.pool(self.head(x)).flatten(1)
        return scores


class Expanded(nn.Module):
    """Squeeze and excitation, then spatial attention, both by ``expand_as`` and sizes asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Sequential(
            nn.Linear(6, 2, bias=False), nn.ReLU(inplace=True),
            nn.Linear(2, 6, bias=False), nn.Sigmoid(),
        )  # fmt: skip
        self.attend = nn.Conv2d(6, 1, 3, padding=1)
        self.last = nn.Conv2d(6, 4, 1)
        self.out = nn.Linear(4 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        batch, channels, _, _ = x.size()
        gate = self.gate(self.pool(x).view(batch, channels)).view(batch, channels, 1, 1)
        x = x * gate.expand_as(x)
        x = x * torch.sigmoid(self.attend(x)).expand_as(x)
        scores: Tensor = self.out(self.last(x).relu().flatten(1))
        return scores


class Tables(nn.Module):
    """Buffers in another shape than they are kept in, and parameters on the scores."""

    mean: Tensor
    scale: Tensor
    once: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.rand(3))
        self.register_buffer("scale", torch.rand(5))
        self.register_buffer("once", torch.rand(1))
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.last = nn.Conv2d(5, 4, 1)
        self.out = nn.Linear(4 * 16, 3)
        self.shift = nn.Parameter(torch.rand(3))
        self.temperature = nn.Parameter(torch.rand(3) + 1)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean.view(1, 3, 1, 1)) * self.once.exp()
        x -= 0.5
        x = self.conv(x).relu() * self.scale[:, None, None]
        scores: Tensor = self.out(self.last(x).relu().flatten(1)) + self.shift
        return scores * self.temperature


class AddsInput(nn.Module):
    """A convolution whose maps are added to the image can't lose a kernel; the next one can."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(3, 3, 3, padding=1)
        self.free = nn.Conv2d(3, 4, 3, padding=1)
        self.out = nn.Linear(4 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.free(x + self.same(x)).relu().flatten(1))
        return scores


class RunsTwice(nn.Module):
    """One convolution applied twice in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.out = nn.Linear(4 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.again(self.stem(x).relu()).relu()).relu()
        scores: Tensor = self.out(x.flatten(1))
        return scores


class Grouped(nn.Module):
    """Groups of 2 inputs and 3 kernels, after an activation; a depthwise one with two maps each."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(5, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=4)
        self.norm = nn.BatchNorm2d(12)
        self.plain = nn.Conv2d(12, 4, 1, bias=False)
        self.wide = nn.Conv2d(4, 8, 3, padding=1, groups=4)
        self.slopes = nn.PReLU(8)
        self.out = nn.Linear(8 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.norm(self.grouped(self.stem(x).relu())))
        x = self.slopes(self.wide(F.hardtanh(self.plain(x))))
        scores: Tensor = self.out(F.adaptive_max_pool2d(x, 2).flatten(1))
        return scores


class DepthwiseOnImage(nn.Module):
    """A depthwise convolution on the image itself: its kernels can't go."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Conv2d(3, 6, 3, padding=1, groups=3)
        self.conv = nn.Conv2d(6, 4, 1)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.conv(self.own(x).relu()).relu().mean((2, 3)))
        return scores


class Inverted(nn.Module):
    """An inverted residual block: expansion, depthwise, squeeze and excitation, projection."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Hardswish())
        self.expand = nn.Sequential(nn.Conv2d(4, 6, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU6())
        self.depthwise = nn.Sequential(
            nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), nn.BatchNorm2d(6), nn.Hardswish()
        )
        self.down, self.up = nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)
        self.project = nn.Sequential(nn.Conv2d(6, 4, 1, bias=False), nn.BatchNorm2d(4))
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        inner = self.depthwise(self.expand(x))
        gate = F.hardsigmoid(self.up(F.relu(self.down(F.adaptive_avg_pool2d(inner, 1)))))
        x = x + self.project(gate * inner)
        scores: Tensor = self.out(x.mean(-1).mean(-1))
        return scores


class Shuffled(nn.Module):
    """Halves, one of them convolved, joined and shuffled: twice, so that positions get lost."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first, self.second = self.branch(), self.branch()
        self.out = nn.Linear(8, 3)

    @staticmethod
    def branch() -> nn.Sequential:
        return nn.Sequential(
            *(nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5), nn.ReLU()),
            *(nn.Conv2d(5, 5, 3, padding=1, groups=5), nn.BatchNorm2d(5), nn.Conv2d(5, 4, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        for branch in (self.first, self.second):
            left, right = x.chunk(2, dim=1)
            x = torch.cat((left, branch(right)), dim=1)
            count, channels, height, width = x.size()
            x = x.view(count, 2, channels // 2, height, width).transpose(1, 2).contiguous()
            x = x.view(count, channels, height, width)
        scores: Tensor = self.out(x.relu().mean((2, 3)))
        return scores


class Split(nn.Module):
    """Unequal parts by numbers in the code, one of them by an index; put together backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 7, 3, padding=1)
        self.few = nn.Conv2d(2, 3, 3, padding=1)
        self.out = nn.Linear(8 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        two, four, _ = torch.split(x, [2, 4, 1], dim=1)
        x = torch.cat([x[:, 6:], self.few(two).relu(), four], 1)
        scores: Tensor = self.out(torch.flatten(x, 1))
        return scores


class ChannelsFirstNorm(nn.LayerNorm):
    """A layer norm over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class LayerNormed(nn.Module):
    """A network in the manner of ConvNeXt, its norms over channels first and last."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 2, stride=2)
        self.stem_norm = ChannelsFirstNorm(5, eps=1e-6)
        self.depthwise = nn.Conv2d(5, 5, 3, padding=1, groups=5)
        self.norm = nn.LayerNorm(5)
        self.wide, self.narrow = nn.Linear(5, 9), nn.Linear(9, 5)
        self.scale = nn.Parameter(torch.ones(5, 1, 1))
        self.next = nn.Conv2d(5, 6, 2, stride=2)
        self.last_norm = nn.LayerNorm(6, elementwise_affine=True, bias=False)
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_norm(self.stem(x))
        inner = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        inner = self.narrow(F.gelu(self.wide(inner))).permute(0, 3, 1, 2)
        inner = self.scale * inner
        inner += x
        scores: Tensor = self.out(self.last_norm(self.next(inner).mean((2, 3))))
        return scores


class RowNorm(nn.LayerNorm):
    """A layer norm over the rows of (N, C, H, W): each channel by itself."""

    over_space = True


class NormedOverAll(nn.Module):
    """Norms over channels and space together: a layer norm, a group norm of a single group."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.layer = nn.LayerNorm([4, 4, 6])
        self.second = nn.Conv2d(4, 5, 3, padding=1)
        self.group = nn.GroupNorm(1, 5)
        self.rows = RowNorm(6)
        self.out = nn.Linear(5 * 24, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(self.first(x)).relu()
        x = self.rows(self.group(self.second(x)).relu())
        scores: Tensor = self.out(x.flatten(1))
        return scores


class GroupNormed(nn.Module):
    """Group norms of two and of as many groups as channels; instance norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding=1)
        self.three = nn.GroupNorm(3, 6)
        self.second = nn.Conv2d(6, 4, 3, padding=1)
        self.each = nn.GroupNorm(4, 4)
        self.third = nn.Conv2d(4, 5, 3, padding=1)
        self.instance = nn.InstanceNorm2d(5, affine=True, track_running_stats=True)
        self.out = nn.Linear(5 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.three(self.first(x)), 0.1)
        x = F.elu(self.each(self.second(x)))
        x = self.instance(self.third(x)).abs()
        scores: Tensor = self.out(F.interpolate(F.avg_pool2d(x, 4), 2).flatten(1))
        return scores


class Dense(nn.Module):
    """Every convolution takes all maps before it, through a batch norm of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4 + 3 * index) for index in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(4 + 3 * index, 3, 3, padding=1) for index in range(3))
        self.out = nn.Linear(13 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.stem(x)]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            maps.append(conv(norm(torch.cat(maps, 1)).relu()))
        x = F.max_pool2d(torch.cat(maps, 1), 2)
        scores: Tensor = self.out(x.reshape(x.shape[0], -1))
        return scores


class Parameters(nn.Module):
    """Parameters and buffers used as they are: a channel each, a place each, a single one, both."""

    mean: Tensor
    gain: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(4))
        self.register_buffer("gain", torch.ones(1))
        self.second = nn.Conv2d(4, 5, 3, padding=1)
        self.place = nn.Parameter(torch.zeros(1, 1, 4, 4))
        self.both = nn.Parameter(torch.zeros(1, 5, 4, 4))
        self.out = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first((x - self.mean) / 0.25) * self.scale.view(1, -1, 1, 1).exp()
        x = self.second(x.relu() * self.gain + torch.tensor(0.5))
        x = (x + self.place + self.both).relu()
        scores: Tensor = self.out(x.sum(dim=(2, 3)))
        return scores


class TwoNames(nn.Module):
    """A convolution and a batch norm that are there under two names each."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.blocks = nn.Sequential(self.conv, self.norm, nn.ReLU(), self.conv, nn.Tanh())
        self.same_norm = self.norm
        self.out = nn.Linear(4 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.same_norm(self.blocks(self.stem(x).relu())).flatten(1))
        return scores


class SpatialAttention(nn.Module):
    """A single map that scales all channels; it belongs to none, so that each can go."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.attend = nn.Conv2d(5, 1, 3, padding=1)
        self.last = nn.Conv2d(5, 4, 1)
        self.out = nn.Linear(4 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        x = torch.sigmoid(self.attend(x)) * x
        scores: Tensor = self.out(self.last(x).relu().flatten(1))
        return scores


class PaddedShortcut(nn.Module):
    """A shortcut that pads channels with zeros: what meets them stays."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.last = nn.Conv2d(8, 4, 1)
        self.out = nn.Linear(4 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        x = (shortcut + self.body(F.pad(x, (0, 0, 0, 0)))).relu()
        scores: Tensor = self.out(self.last(x).relu().flatten(1))
        return scores


class HalvedFeatures(nn.Module):
    """Features cut in two after a mean over space, and scores that are some rows of a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.left = nn.Linear(3, 4)
        self.right = nn.Linear(3, 4)
        self.out = nn.Linear(4, 7)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.conv(x).relu().mean((2, 3)).chunk(2, 1)
        scores: Tensor = self.out(self.left(left) * self.right(right).relu())
        return torch.cat([scores[:, 5:], scores[:, 1:3:2]], 1)


class ConvolutionHead(nn.Module):
    """Scores that are sums and differences of a convolution's maps, some of which are not used."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.head = nn.Conv2d(5, 7, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.head(self.conv(x).relu())[:, 1:]
        return (maps[:, :3].relu() - maps[:, 3:]).mean((2, 3))


class EverySecondScore(nn.Module):
    """Some rows of a linear layer are the scores; features are normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.instance = nn.InstanceNorm2d(4)
        self.norm = nn.BatchNorm1d(4)
        self.out = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.norm(self.instance(self.conv(x)).relu().mean((2, 3))))
        return scores[:, 1::2]


def simcnn_tiny(channels: int, *, batch_norm: bool) -> nn.Module:
    return simcnn(
        3,
        stages=((4, 3), (5,), (6,)),
        hidden=(7, 5),
        in_channels=channels,
        input_size=16,
        batch_norm=batch_norm,
    )


def rescnn_tiny(channels: int, size: int, *, batch_norm: bool) -> nn.Module:
    return rescnn(
        3,
        width_multiplier=1 / 80,
        in_channels=channels,
        input_size=size,
        batch_norm=batch_norm,
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "simcnn": (lambda: simcnn_tiny(3, batch_norm=False), (3, 16, 16)),
    "simcnn_grey_batch_norm": (lambda: simcnn_tiny(1, batch_norm=True), (1, 16, 16)),
    "rescnn": (lambda: rescnn_tiny(3, 32, batch_norm=False), (3, 32, 32)),
    "rescnn_batch_norm": (lambda: rescnn_tiny(3, 32, batch_norm=True), (3, 32, 32)),
    "rescnn_wide_flatten": (lambda: rescnn_tiny(1, 64, batch_norm=True), (1, 64, 64)),
    "simple_simcnn": (lambda: simple_simcnn(3, widths=(5, 4), input_size=8), (3, 8, 8)),
    "simple_rescnn": (
        lambda: simple_rescnn(3, width=5, in_channels=1, input_size=8, batch_norm=True),
        (1, 8, 8),
    ),
    "non_square": (NonSquare, (3, 8, 12)),
    "pre_activation": (PreActivation, (1, 6, 6)),
    "joined": (Joined, (3, 4, 4)),
    "squeezed": (Squeezed, (3, 5, 7)),
    "expanded": (Expanded, (3, 4, 4)),
    "tables": (Tables, (3, 4, 4)),
    "adds_input": (AddsInput, (3, 4, 4)),
    "runs_twice": (RunsTwice, (1, 4, 4)),
    "grouped": (Grouped, (5, 6, 6)),
    "depthwise_on_image": (DepthwiseOnImage, (3, 5, 5)),
    "inverted": (Inverted, (3, 6, 6)),
    "shuffled": (Shuffled, (3, 4, 4)),
    "split": (Split, (1, 4, 4)),
    "layer_normed": (LayerNormed, (3, 8, 8)),
    "normed_over_all": (NormedOverAll, (3, 4, 6)),
    "group_normed": (GroupNormed, (2, 6, 6)),
    "dense": (Dense, (3, 4, 4)),
    "parameters": (Parameters, (3, 4, 4)),
    "two_names": (TwoNames, (1, 4, 4)),
    "spatial_attention": (SpatialAttention, (3, 4, 4)),
    "padded_shortcut": (PaddedShortcut, (3, 4, 4)),
    "halved_features": (HalvedFeatures, (3, 4, 4)),
    "every_second_score": (EverySecondScore, (3, 4, 4)),
    "convolution_head": (ConvolutionHead, (3, 4, 4)),
}

PARTS_STAY = frozenset({"spatial_attention", "expanded", "padded_shortcut"})
"""Networks with kernels that could go as far as values tell, but not as far as shapes do."""
