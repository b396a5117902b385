"""What each operation does to channel ids; an operation without a rule is refused."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from modularizer.analysis.call import Rule
from modularizer.analysis.elementwise import (
    combine,
    keep,
    keep_unless_training,
    pad,
    pool,
    reduce_within_channels,
)
from modularizer.analysis.layer_rules import (
    activate_with_slopes,
    convolve,
    multiply_matrix,
    normalise,
    normalise_groups,
    normalise_over_channels,
)
from modularizer.analysis.movement import concatenate, expand, move, select, stay
from modularizer.analysis.selecting import Select

_ACTIVATION_LAYERS: tuple[Any, ...] = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.SiLU, nn.GELU, nn.Mish),
    *(nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardshrink),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Softshrink, nn.Tanhshrink, nn.RReLU),
)
_ACTIVATION_FUNCTIONS: tuple[Any, ...] = (
    *(torch.relu, torch.relu_, torch.sigmoid, torch.tanh, F.relu, F.relu_, F.relu6, F.leaky_relu),
    *(F.elu, F.selu, F.celu, F.silu, F.gelu, F.mish, F.sigmoid, F.logsigmoid, F.tanh, F.softplus),
    *(F.softsign, F.hardtanh, F.hardswish, F.hardsigmoid),
    *("relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_"),
)
_ELEMENT_BY_ELEMENT: tuple[Any, ...] = (
    *(torch.abs, torch.exp, torch.sqrt, torch.rsqrt, torch.square, torch.neg, torch.clamp),
    *("abs", "exp", "sqrt", "rsqrt", "square", "neg", "clamp", "clamp_", operator.neg),
    *("float", "double", "half"),
)
_STANDSTILLS: tuple[Any, ...] = (
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout),
    *(torch.clone, torch.detach, "contiguous", "clone", "detach"),
)
_SUMS: tuple[Any, ...] = (
    *(operator.add, operator.iadd, torch.add, "add", "add_"),
    *(operator.sub, operator.isub, torch.sub, "sub", "sub_"),
)
_PRODUCTS: tuple[Any, ...] = (
    *(operator.mul, operator.imul, torch.mul, torch.multiply, "mul", "mul_"),
    *(operator.truediv, operator.itruediv, torch.div, "div", "div_"),
)
_OTHER_COMBINATIONS: tuple[Any, ...] = (
    *(operator.pow, torch.pow, "pow", torch.maximum, torch.minimum, "maximum", "minimum"),
)
_POOLS: tuple[Any, ...] = (
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.LPPool2d),
    *(F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.lp_pool2d),
    *(nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d),
    *(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d, F.interpolate),
)
MOVEMENTS: tuple[Any, ...] = (
    *(nn.Flatten, nn.Unflatten, torch.flatten, torch.reshape, torch.permute, torch.transpose),
    *(torch.squeeze, torch.unsqueeze, torch.swapaxes, torch.movedim, torch.unflatten),
    *(torch.chunk, torch.split, torch.tensor_split, torch.unbind, torch.narrow, torch.select),
    *("flatten", "unflatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze"),
    *("swapaxes", "movedim", "chunk", "split", "tensor_split", "unbind", "narrow", "select"),
    operator.getitem,
)
_REDUCTIONS: tuple[Any, ...] = (
    *(torch.mean, torch.sum, torch.amax, torch.amin, "mean", "sum", "amax", "amin"),
)

RULES: dict[Any, Rule] = {
    nn.Conv2d: convolve,
    nn.Linear: multiply_matrix,
    nn.PReLU: activate_with_slopes,
    nn.LayerNorm: normalise_over_channels,
    F.layer_norm: normalise_over_channels,
    nn.GroupNorm: normalise_groups,
    F.group_norm: normalise_groups,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d), normalise),
    **dict.fromkeys(_ACTIVATION_LAYERS, keep),
    **dict.fromkeys(_ACTIVATION_FUNCTIONS, keep),
    **dict.fromkeys(_ELEMENT_BY_ELEMENT, keep),
    Select: select,
    **dict.fromkeys(_STANDSTILLS, stay),
    **dict.fromkeys((F.dropout, F.dropout2d), keep_unless_training),
    "torchvision.ops.stochastic_depth.stochastic_depth": keep_unless_training,
    **dict.fromkeys(_SUMS, combine),
    **dict.fromkeys(_PRODUCTS, combine),
    **dict.fromkeys(_OTHER_COMBINATIONS, combine),
    **dict.fromkeys(_POOLS, pool),
    F.pad: pad,
    **dict.fromkeys(MOVEMENTS, move),
    **dict.fromkeys((torch.cat, torch.concat), concatenate),
    **dict.fromkeys(("expand", "expand_as"), expand),
    **dict.fromkeys(_REDUCTIONS, reduce_within_channels),
}
"""Submodule type, function, method name or qualified name of a function -> rule."""

ANSWERS_WITHOUT_VALUES: frozenset[Any] = frozenset(
    {"size", "dim", "numel", "ndimension", "is_floating_point", torch._assert}
)
"""What may be asked about an activation: its shape, and nothing of its values."""

ATTRIBUTES_WITHOUT_VALUES = frozenset({"shape", "ndim", "dtype", "device", "is_cuda"})
"""What may be read of an activation with ``getattr``."""

IMPORTANCE_IS_READ_AFTER: frozenset[Any] = frozenset(
    {
        *(nn.Conv2d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.PReLU),
        *(*_ACTIVATION_LAYERS, *_ACTIVATION_FUNCTIONS, *_SUMS, *_PRODUCTS),
    }
)
"""Operations after which a feature map is worth looking at."""


def rule_for(key: Any) -> Rule | None:
    """The rule for a submodule's type, a function or a method name, None if there is none."""
    try:
        if key in RULES:
            return RULES[key]
    except TypeError:  # unhashable: some object's bound method
        return None
    return RULES.get(f"{getattr(key, '__module__', '')}.{getattr(key, '__qualname__', '')}")
