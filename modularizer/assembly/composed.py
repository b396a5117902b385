"""Class modules side by side, as one classifier (section 3.3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modularizer.assembly.class_module import ClassModule


class ComposedClassifier(nn.Module):
    """One class module for each class; each gives the score of its own class alone.

    Args:
        class_modules: one for each class, in output order.
    """

    def __init__(self, class_modules: Sequence[ClassModule]) -> None:
        super().__init__()
        self.class_modules = nn.ModuleList(class_modules)
        self.class_names = tuple(one.class_name for one in class_modules)

    def forward(self, images: Tensor) -> Tensor:
        """Raw scores of uint8 images (N, H, W, C): float32 (N, classes)."""
        return torch.stack([one(images) for one in self.class_modules], dim=1)
