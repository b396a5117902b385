"""The networks that are measured: made when they are asked for, as memory is measured, too."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from benchmarks.inference.settings import InferenceSettings
from benchmarks.networks import plan_of, random_classifier, random_module
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.decode import decode
from modularizer.classifier import Classifier


class Subject:
    """Networks with random weights, on the device.

    Args:
        settings: their sizes and where they are.
    """

    def __init__(self, settings: InferenceSettings) -> None:
        self.settings = settings
        self.device = torch.device(settings.device)

    @cached_property
    def weak(self) -> Classifier:
        """The weak model."""
        return self._classifier(self.settings.seed).to(self.device)

    @cached_property
    def strong(self) -> Classifier:
        """The strong model, of the same size."""
        return self._classifier(self.settings.seed + 1).to(self.device)

    @cached_property
    def whole_module(self) -> ClassModule:
        """A class module with all kernels: what masking without slicing takes.

        A masked kernel is computed like any other and then multiplied by zero.
        """
        strong = self._classifier(self.settings.seed + 1)
        plan = plan_of(strong)
        kept = torch.ones(plan.channels, dtype=torch.bool)
        return ClassModule(
            decode(strong.network, plan, kept, output=0),
            architecture=strong.architecture,
            kept=kept,
            output=0,
            class_name=strong.class_names[0],
            preprocessing=strong.preprocessing,
        ).to(self.device)

    def modules(self, count: int) -> list[ClassModule]:
        """So many class modules of the strong model, each by a mask of its own."""
        while len(self._modules) < count:
            number = len(self._modules)
            module = random_module(
                self._classifier(self.settings.seed + 1),
                number % 10,
                kept_share=self.settings.kept_share,
                seed=self.settings.seed + number,
            )
            self._modules.append(module.to(self.device))
        return self._modules[:count]

    @cached_property
    def _modules(self) -> list[ClassModule]:
        return []

    def images(self, batch: int) -> Tensor:
        """Prepared images of noise: float32 (batch, 3, side, side), on the device."""
        generator = torch.Generator().manual_seed(self.settings.seed + batch)
        side = self.settings.side
        return torch.randn(batch, 3, side, side, generator=generator).to(self.device)

    def _classifier(self, seed: int) -> Classifier:
        spec = ArchitectureSpec(
            name=self.settings.architecture, arguments=self.settings.arguments()
        )
        return random_classifier(spec, side=self.settings.side, seed=seed)
