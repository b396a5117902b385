"""Images varied at random while a network learns from them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from modularizer.settings import TrainingSettings


def augmented(images: Tensor, settings: TrainingSettings, generator: torch.Generator) -> Tensor:
    """Mirror and shift each image at random, as the settings say.

    Args:
        images: prepared, float (N, C, H, W), on any device.
        settings: say how.
        generator: on the CPU.

    Returns:
        The same shape, dtype and device.
    """
    if settings.augment_flip:
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(
            mirrored.to(images.device)[:, None, None, None], images.flip(3), images
        )
    if settings.augment_crop:
        images = shifted(images, settings.augment_crop, generator)
    return images


def shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each image moved by up to ``most`` pixels each way, zeros coming in; same shape.

    Args:
        images: float (N, C, H, W), on any device.
        most: pixels.
        generator: on the CPU.
    """
    count, channels, height, width = images.shape
    padded = F.pad(images, (most,) * 4)
    top, left = torch.randint(2 * most + 1, (2, count), generator=generator).to(images.device)
    rows = (top[:, None] + torch.arange(height, device=images.device))[:, None, :, None]
    columns = (left[:, None] + torch.arange(width, device=images.device))[:, None, None, :]
    index = torch.arange(count, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return padded[index, channel, rows, columns]
