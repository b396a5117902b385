"""What a network wants done to an image before it looks at it."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from modularizer.datasets.images import ImageSet
from modularizer.errors import DataError

# ITU-R BT.601 luma weights, the ones Pillow's convert("L") uses.
_LUMA = (0.299, 0.587, 0.114)

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Preprocessing(BaseModel):
    """From pixels of any size to a network's input; each network carries its own.

    Attributes:
        size: (height, width) in pixels of the network's input.
        channels: 1 (grey) or 3 (RGB).
        mean: per channel, on the scale 0-1.
        std: per channel, on the scale 0-1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[Annotated[int, Field(ge=1, le=4096)], Annotated[int, Field(ge=1, le=4096)]]
    channels: Literal[1, 3]
    mean: tuple[Annotated[float, Field(allow_inf_nan=False)], ...]
    std: tuple[PositiveFloat, ...]

    @model_validator(mode="after")
    def _one_value_per_channel(self) -> Preprocessing:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std need {self.channels} values each")
        return self

    @classmethod
    def fitted(cls, images: ImageSet, *, channels: Literal[1, 3] | None = None) -> Preprocessing:
        """The preprocessing that leaves these images at their size, with mean 0 and std 1.

        Args:
            images: what to fit it to.
            channels: of the network's input; None for the images' own.

        Raises:
            DataError: if there is no image.
        """
        _, height, width, there = images.images.shape
        if not len(images):
            raise DataError("preprocessing can't be fitted to a set without images")
        pixels = images.images.reshape(-1, there).astype(np.float64) / 255
        wanted = there if channels is None else channels
        if wanted < there:
            pixels = pixels @ np.array(_LUMA)[:, None]
        elif wanted > there:
            pixels = pixels.repeat(wanted, axis=1)
        return cls(
            size=(height, width),
            channels=wanted,
            mean=tuple(round(float(v), 6) for v in pixels.mean(axis=0)),
            std=tuple(max(round(float(v), 6), 1e-3) for v in pixels.std(axis=0)),
        )

    def prepare(self, images: Tensor) -> Tensor:
        """Turn pixels into the network's input.

        Grey becomes RGB by repetition, RGB becomes grey by BT.601 luma; other sizes are
        resized (bilinear, antialiased).

        Args:
            images: (N, H, W, C), C is 1 or 3, any device: uint8, or float32 on the scale 0-1.

        Returns:
            float32, (N, channels, *size), normalised, on the same device.

        Raises:
            DataError: if dtype or shape is another.
        """
        known = images.dtype in (torch.uint8, torch.float32)
        if not known or images.ndim != 4 or images.shape[3] not in (1, 3):
            raise DataError(
                "expected uint8 or float32 images of shape (N, height, width, 1 or 3), found "
                f"{images.dtype} of shape {tuple(images.shape)}"
            )
        pixels = images.permute(0, 3, 1, 2)
        if images.dtype == torch.uint8:
            pixels = pixels.to(torch.float32) / 255
        if pixels.shape[1] > self.channels:
            luma = torch.tensor(_LUMA, device=pixels.device).view(1, 3, 1, 1)
            pixels = (pixels * luma).sum(dim=1, keepdim=True)
        elif pixels.shape[1] < self.channels:
            pixels = pixels.expand(-1, self.channels, -1, -1)
        if pixels.shape[2:] != self.size:
            pixels = _resized(pixels, self.size)
        mean = torch.tensor(self.mean, device=pixels.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(1, -1, 1, 1)
        return (pixels - mean) / std


def _resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (N, C, H, W), and take no more memory on the way than for the larger of both ends."""
    (height, width), wide = size, pixels.shape[3]
    if pixels.shape[2] > height and wide < width:
        # torch changes the width first: a picture one pixel wide and a million high would be
        # widened before it is cut down, which takes gigabytes.
        pixels = F.interpolate(pixels, (height, wide), mode="bilinear", antialias=True)
    return F.interpolate(pixels, size, mode="bilinear", antialias=True)


def as_tensor(
    images: NDArray[np.uint8] | NDArray[np.float32], device: torch.device | str = "cpu"
) -> Tensor:
    """Pixels as a tensor on ``device``, same shape and dtype (copied if they are read-only)."""
    return torch.from_numpy(images if images.flags.writeable else images.copy()).to(device)
