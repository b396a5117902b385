"""A request's images as the networks take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Image = NDArray[np.uint8] | NDArray[np.float32]
"""(H, W, 1 or 3): uint8, or float32 on the scale 0-1."""

# Pixels turned into floats at once, before or after they are resized: 4 M take 50 MB with three
# channels.
PIXELS_AT_ONCE = 4 * 1024 * 1024


@dataclass(frozen=True)
class Ask:
    """What a request wants to know of its images.

    Attributes:
        patches: places of the patches to ask, in patch order; none asks the weak model alone.
        explain: whether to find what the answer would be without each of them.
    """

    patches: tuple[int, ...]
    explain: bool = False


@dataclass(frozen=True)
class Unprepared:
    """Images of one request as they came, to be prepared together with those of others.

    Attributes:
        ask: what is wanted of them.
        images: at least one, of any sizes.
    """

    ask: Ask
    images: Sequence[Image]

    def __len__(self) -> int:
        return len(self.images)

    def slice(self, start: int, stop: int) -> Unprepared:
        """The images ``start`` up to ``stop``."""
        return Unprepared(self.ask, self.images[start:stop])


@dataclass(frozen=True)
class Prepared:
    """Images of one request, brought to what each network takes.

    Attributes:
        ask: what is wanted of them.
        inputs: float32 (N, channels, height, width) for the weak model, then for each patch that
            is asked, on the engine's device; networks that prepare alike share one tensor.
    """

    ask: Ask
    inputs: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.inputs[0])

    def slice(self, start: int, stop: int) -> Prepared:
        """The images ``start`` up to ``stop``."""
        if start == 0 and stop >= len(self):
            return self
        slices: dict[int, Tensor] = {}
        for x in self.inputs:
            if id(x) not in slices:
                slices[id(x)] = x[start:stop]
        return Prepared(self.ask, tuple(slices[id(x)] for x in self.inputs))


def alike(images: Sequence[Image], *, input_pixels: int) -> list[list[int]]:
    """Indices of images of one shape and dtype, in groups small enough to be prepared at once.

    Args:
        images: (H, W, 1 or 3) each.
        input_pixels: of the largest input that an image is brought to.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault((image.dtype, *image.shape), []).append(index)
    parts = []
    for (_, height, width, _), indices in groups.items():
        assert isinstance(height, int)
        assert isinstance(width, int)
        step = max(1, PIXELS_AT_ONCE // max(height * width, input_pixels))
        parts += [indices[i : i + step] for i in range(0, len(indices), step)]
    return parts
