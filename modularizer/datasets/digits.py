"""Real handwritten digits that come with scikit-learn: nothing to download."""

from __future__ import annotations

import numpy as np

from modularizer.datasets.images import ImageSet

_LARGEST_VALUE = 16


def read_digits() -> ImageSet:
    """Read scikit-learn's 1,797 scans of handwritten digits (UCI optdigits' test part).

    Returns:
        uint8 (1797, 8, 8, 1): the values 0..16 of the source stretched to 0..255 and rounded;
        class names "0" to "9".

    Example:
        >>> read_digits().images.shape
        (1797, 8, 8, 1)
    """
    from sklearn.datasets import load_digits  # slow to import: only when asked for

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / _LARGEST_VALUE)).astype(np.uint8)
    names = tuple(str(name) for name in bunch.target_names)
    return ImageSet(pixels[..., np.newaxis], bunch.target.astype(np.int64), names)
