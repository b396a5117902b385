"""The names of the allow-list, without importing what is behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points

GROUP = "patchbay.architectures"
"""The entry-point group through which installed packages offer networks of their own."""

OWN = ("rescnn", "simcnn", "simple_rescnn", "simple_simcnn")
"""The reference networks (section 5.2)."""

PREFIX = "torchvision."

# Written down, since importing torchvision to ask takes seconds; a test compares them.
TORCHVISION = tuple(
    f"{PREFIX}{family}{member}"
    for family, members in {
        "alexnet": ("",),
        "convnext_": ("base", "large", "small", "tiny"),
        "densenet": ("121", "161", "169", "201"),
        "efficientnet_": (*(f"b{size}" for size in range(8)), "v2_l", "v2_m", "v2_s"),
        "googlenet": ("",),
        "inception_v3": ("",),
        "mnasnet": ("0_5", "0_75", "1_0", "1_3"),
        "mobilenet_": ("v2", "v3_large", "v3_small"),
        "regnet_x_": ("16gf", "1_6gf", "32gf", "3_2gf", "400mf", "800mf", "8gf"),
        "regnet_y_": ("128gf", "16gf", "1_6gf", "32gf", "3_2gf", "400mf", "800mf", "8gf"),
        "resnet": ("101", "152", "18", "34", "50"),
        "resnext": ("101_32x8d", "101_64x4d", "50_32x4d"),
        "shufflenet_v2_": ("x0_5", "x1_0", "x1_5", "x2_0"),
        "squeezenet": ("1_0", "1_1"),
        "vgg": ("11", "11_bn", "13", "13_bn", "16", "16_bn", "19", "19_bn"),
        "wide_resnet": ("101_2", "50_2"),
    }.items()
    for member in members
)
"""The CNN classifiers of torchvision."""


def architecture_names() -> tuple[str, ...]:
    """Every name that `build_network` knows, those of installed packages included."""
    return tuple(sorted({*OWN, *TORCHVISION, *offered()}))


def offered() -> Mapping[str, Sequence[EntryPoint]]:
    """What installed packages offer, by name; none of it is imported.

    Names of ours, and any that begins like torchvision's, stay ours whoever offers them. More
    than one entry point under a name means that packages contradict each other about it.
    """
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        if point.name in OWN or point.name.startswith(PREFIX):
            continue
        known = found.setdefault(point.name, [])
        if point.value not in [other.value for other in known]:
            known.append(point)
    return found


def distribution_of(point: EntryPoint) -> str:
    """The installed package that an entry point comes from, as a message names it."""
    return f"the package {point.dist.name}" if point.dist else f"the entry point {point.value}"
