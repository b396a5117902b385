"""One class of a strong network, as a network of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modularizer.architectures.spec import ArchitectureSpec
from modularizer.classifier import ImageNetwork
from modularizer.preprocessing import Preprocessing


class ClassModule(ImageNetwork):
    """The part of a strong network that scores one class, physically smaller than the whole.

    Args:
        network: prepared float32 (N, channels, height, width) to that class's raw score (N, 1).
        architecture: the strong network's structure; with ``kept`` it gives this one's.
        kept: bool, (channels,) of the slicing plan: which channels are still there.
        output: the strong network's output that is kept, an index.
        class_name: the class it scores.
        preprocessing: the strong network's.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        architecture: ArchitectureSpec,
        kept: Tensor,
        output: int,
        class_name: str,
        preprocessing: Preprocessing,
    ) -> None:
        super().__init__(network, preprocessing)
        self.architecture = architecture
        self.kept = kept.to(torch.bool).cpu()
        self.output = output
        self.class_name = class_name

    @property
    def sees_both_ways(self) -> bool:
        """Whether each image is seen a second time with left and right exchanged."""
        return isinstance(self.network, _BothWays)

    def run(self, prepared: Tensor) -> Tensor:
        """The class's raw score of prepared images: float32 (N,)."""
        scores: Tensor = self.network(self.laid_out(prepared))
        return scores.flatten()

    def forward(self, images: Tensor) -> Tensor:
        """The class's raw score of uint8 images (N, H, W, C): float32 (N,)."""
        return self.run(self.preprocessing.prepare(images))


class _BothWays(nn.Module):
    """A network that sees each image and its mirror image, and gives the mean of both scores."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, prepared: Tensor) -> Tensor:
        seen, mirrored = self.network(torch.cat([prepared, prepared.flip(-1)])).chunk(2)
        mean: Tensor = (seen + mirrored) / 2
        return mean


def both_ways(class_module: ClassModule) -> ClassModule:
    """The same module, which sees each image a second time with left and right exchanged.

    Its score is the mean of both, at twice the cost. Right where a mirrored image is of the same
    class: for photographs of things, not for digits.

    Args:
        class_module: left as it is; the networks share their weights.
    """
    return _variant(class_module, _BothWays(class_module.network), class_module.class_name)


def known_as(class_module: ClassModule, class_name: str) -> ClassModule:
    """The same module under the name that a weak model has for its class.

    Args:
        class_module: left as it is; the networks share their weights.
        class_name: the weak model's, such as ``automobile`` for a module of ``car``.
    """
    return _variant(class_module, class_module.network, class_name)


def _variant(class_module: ClassModule, network: nn.Module, class_name: str) -> ClassModule:
    return ClassModule(
        network,
        architecture=class_module.architecture,
        kept=class_module.kept,
        output=class_module.output,
        class_name=class_name,
        preprocessing=class_module.preprocessing,
    )
