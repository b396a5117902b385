"""Pictures made of smooth noise: none is stored, and each seed makes its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_COARSEST = 4
_OCTAVES = 6


def smooth_noise(height: int, width: int, *, seed: int) -> NDArray[np.uint8]:
    """A picture with large patches of colour and finer detail on them, as photographs have.

    Noise on ever finer grids, each half as strong as the one before. The same seed looks the
    same at another size, up to the detail that the size allows.

    Args:
        height: in pixels.
        width: in pixels.
        seed: of the noise.

    Returns:
        uint8 (height, width, 3).
    """
    generator = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for octave in range(_OCTAVES):
        cells = _COARSEST * 2**octave
        noise = generator.standard_normal((cells, cells, 3), np.float32)
        if cells <= 2 * max(height, width):
            for channel in range(3):
                grid = Image.fromarray(noise[:, :, channel])
                total[:, :, channel] += np.asarray(grid.resize((width, height))) / 2**octave
    pixels: NDArray[np.uint8] = (np.clip(0.5 + 0.3 * total, 0, 1) * 255).astype(np.uint8)
    return pixels
