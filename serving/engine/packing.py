"""Networks as a CPU runs them fastest: weights laid out once, batch norms folded away."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from modularizer.analysis.tracing import traced
from modularizer.assembly.patched import PatchedClassifier
from modularizer.classifier import Classifier, ImageNetwork, inference
from modularizer.preprocessing import Preprocessing

logger = logging.getLogger(__name__)

_TOLERANCE = 1e-4
"""Of the largest score: sums in another order round otherwise, by some 1e-6 of it."""

_CHECKED_IMAGES = 2

_SMALL_WEIGHTS = 65_536
"""Numbers of a layer up to which, on a small map, one image is faster without oneDNN: with 38
channels on 8 x 8 pixels 48 us instead of 59, with 77 on 2 x 2 28 instead of 48, with 154 on 4 x 4
119 instead of 98 (AMD EPYC, one thread, medians of 180)."""

_SMALL_MAP = 64
"""Pixels that a layer of that kind gets at most."""

_RELUS = (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_")
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity)


class PackedConv2d(nn.Module):
    """A convolution whose weights lie as oneDNN reads them, with the ReLU behind it.

    torch lays a convolution's weights out anew each time that it runs; for one image that takes
    longer than the convolution. It is the operation that torch's own compiler makes of a frozen
    convolution (``torch/_inductor/fx_passes/mkldnn_fusion.py``), without the compiler.

    For one image torch itself takes another way, which costs less to begin with: small layers go
    that way still, and hold their weights twice.

    Args:
        layer: float32, on the CPU, padded with zeros; left as it is.
        input_shape: (N, in channels, H, W) of what it will get. Any other N is as fast; for
            another H and W it may have to lay out its weights each time.
        with_relu: whether nothing below 0 is given.
    """

    weight: Tensor
    plain_weight: Tensor | None

    def __init__(self, layer: nn.Conv2d, input_shape: Sequence[int], *, with_relu: bool) -> None:
        super().__init__()
        assert isinstance(layer.padding, tuple)
        self._padding, self._stride = list(layer.padding), list(layer.stride)
        self._dilation, self._groups = list(layer.dilation), layer.groups
        self._shape = tuple(input_shape)
        self.then = "relu" if with_relu else "none"
        weight = torch.ops.aten.mkldnn_reorder_conv2d_weight(
            layer.weight.detach().to_mkldnn(),
            self._padding,
            self._stride,
            self._dilation,
            self._groups,
            list(input_shape),
        )
        self.register_buffer("weight", weight, persistent=False)
        plain = layer.weight.detach().contiguous(memory_format=torch.channels_last)
        is_small = plain.numel() <= _SMALL_WEIGHTS and math.prod(input_shape[2:]) <= _SMALL_MAP
        self.register_buffer("plain_weight", plain if is_small else None, persistent=False)
        bias = layer.weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias
        self.bias = nn.Parameter(bias.detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Float32 (N, in channels, H, W) to (N, out channels, H', W'), channels innermost."""
        if self.plain_weight is not None and len(x) == 1:
            return self._plainly(x, self.plain_weight)
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x,
            self.weight,
            self.bias,
            self._padding,
            self._stride,
            self._dilation,
            self._groups,
            self.then,
            [],
            "",
        )
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled as the layer that it was: what oneDNN lays out, it reads alone."""
        kernel = self.weight.to_dense()
        return _unreduced, (
            *(kernel, self.bias, self._shape, self.then),
            *(self._padding, self._stride, self._dilation, self._groups),
        )

    def _plainly(self, x: Tensor, weight: Tensor) -> Tensor:
        found = torch.conv2d(
            x, weight, self.bias, self._stride, self._padding, self._dilation, self._groups
        )
        return found.relu_() if self.then == "relu" else found


def _unreduced(
    kernel: Tensor,
    bias: Tensor,
    input_shape: Sequence[int],
    then: str,
    padding: Any,
    stride: Any,
    dilation: Any,
    groups: int,
) -> PackedConv2d:
    out_channels, in_channels, *size = kernel.shape
    layer = nn.Conv2d(
        in_channels * groups,
        out_channels,
        tuple(size),  # type: ignore[arg-type]
        stride,
        padding,
        dilation,
        groups,
        device="meta",
    )
    layer.weight, layer.bias = nn.Parameter(kernel), nn.Parameter(bias)
    return PackedConv2d(layer, input_shape, with_relu=then == "relu").eval()


def place(network: nn.Module, *, device: torch.device) -> None:
    """Move a network to where it will run, in the form in which it runs fastest there."""
    network.to(device)
    if isinstance(network, ImageNetwork):
        pack(network)


def pack(model: ImageNetwork) -> bool:
    """Let a classifier or class module go on with a packed network, if there is one.

    Scores differ in the last digits. The network that it had is let go.

    Args:
        model: in evaluation mode from now on.

    Returns:
        Whether its network is packed now. It stays as it was on a GPU, where torch has no oneDNN,
        where the code can't be followed, and where a packed one gives other scores.
    """
    if any(isinstance(layer, PackedConv2d) for layer in model.network.modules()):
        return True
    if model.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    images = _example(model.preprocessing)
    model.eval()
    try:
        with inference(model):
            expected = model.network(model.laid_out(images))
            network = packed(model.network, model.laid_out(images)).eval()
            off = _difference(network(images), expected)
    except Exception as error:  # networks hold anything, and unpacked they run, too
        logger.warning("a %s runs unpacked: %s", type(model.network).__name__, error)
        return False
    if not off <= _TOLERANCE:
        logger.warning(
            "a %s runs unpacked: packed, its scores were off by %.2g of the largest",
            *(type(model.network).__name__, off),
        )
        return False
    model.go_on_with(network)
    return True


def pack_all(model: Classifier | PatchedClassifier) -> None:
    """The same for each network of a model that many images will go through."""
    for one in model.branches if isinstance(model, PatchedClassifier) else (model,):
        pack(one)


def packed(network: nn.Module, images: Tensor) -> fx.GraphModule:
    """The same function for inference on this CPU, from the layers of a network.

    Convolutions are `PackedConv2d`, with the batch norm and the ReLU behind them taken in where
    nothing else reads what lies between; dropout is gone.

    Args:
        network: float32, on the CPU, in evaluation mode; its layers are shared.
        images: an example of its input, (N, channels, height, width), to find sizes by.

    Raises:
        PlanError: if its code can't be followed.
    """
    graph = traced(network)
    found = fx.GraphModule(network, graph)
    sizes = _Sizes(found)
    sizes.run(images)
    layers = dict(found.named_modules())
    for node in list(graph.nodes):
        layer = layers.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(layer, _DROPOUTS):
            _skip(node, node.args[0])
        elif type(layer) is nn.Conv2d and _can_be_packed(layer):
            _pack(found, node, layer, layers, sizes.seen[str(node.target)])
        elif node.op == "call_method" and node.target == "view":
            node.target = "reshape"  # a view needs channels outermost, these are innermost
    graph.lint()
    found.recompile()
    found.delete_all_unused_submodules()
    return found


class _Sizes(fx.Interpreter):
    """Notes what each layer gets. Not torch's ``ShapeProp``, which imports 46 MiB of algebra.

    Attributes:
        seen: by layer the shape of its input, when it last ran.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.seen: dict[str, torch.Size] = {}

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        first, *_ = (*args, *kwargs.values())
        self.seen[str(target)] = first.shape
        return super().call_module(target, args, kwargs)


def _can_be_packed(layer: nn.Conv2d) -> bool:
    return (
        layer.weight.dtype == torch.float32
        and layer.padding_mode == "zeros"
        and isinstance(layer.padding, tuple)
    )


def _pack(
    found: fx.GraphModule,
    node: fx.Node,
    layer: nn.Conv2d,
    layers: dict[str, nn.Module],
    input_shape: torch.Size,
) -> None:
    """Put a packed layer in a node's place, and in that of what it takes in."""
    norm = _only_user(node)
    if norm is not None and norm.op == "call_module":
        behind = layers[str(norm.target)]
        if type(behind) is nn.BatchNorm2d and behind.track_running_stats:
            layer = fuse_conv_bn_eval(layer, behind)
            _skip(norm, node)
    relu = _only_user(node)
    with_relu = relu is not None and _is_relu(relu, layers)
    if relu is not None and with_relu:
        _skip(relu, node)
    name = f"packed_{node.name}"
    found.add_submodule(name, PackedConv2d(layer, input_shape, with_relu=with_relu))
    node.target = name


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_relu(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return type(layers[str(node.target)]) is nn.ReLU
    return node.target in _RELUS


def _skip(node: fx.Node, instead: Any) -> None:
    node.replace_all_uses_with(instead)
    node.graph.erase_node(node)


def _example(preprocessing: Preprocessing) -> Tensor:
    """Prepared images of noise, float32 (2, channels, height, width), channels innermost."""
    shape = (_CHECKED_IMAGES, preprocessing.channels, *preprocessing.size)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return images.to(memory_format=torch.channels_last)


def _difference(found: Tensor, expected: Tensor) -> float:
    """How far scores are from what was expected, as a share of the largest; NaN is far."""
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
