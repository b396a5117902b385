"""Images that are kept for the very end: nobody sees one by accident, nobody sees them twice."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from modularizer.datasets.images import ImageSet
from modularizer.errors import DataError

_LOG = logging.getLogger(__name__)


class HeldOut:
    """A sealed set of images. What it is of can be asked at any time; the images, once.

    Weights, calibrations and every choice are made without them. A result on them is worth what
    it says only if nothing was chosen by it, so that they are given out a single time, to what
    judges, and the log says for what.

    Args:
        images: the set.

    Example:
        >>> import numpy as np
        >>> images = ImageSet(np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1]), ("a", "b"))
        >>> sealed = HeldOut(images)
        >>> len(sealed), sealed.class_names
        (2, ('a', 'b'))
        >>> len(sealed.open("the final table"))
        2
        >>> sealed.open("another look")
        Traceback (most recent call last):
            ...
        modularizer.errors.DataError: the held-out images were given out for the final table; ...
    """

    def __init__(self, images: ImageSet) -> None:
        self._images = images
        self._opened_for: str | None = None

    def __len__(self) -> int:
        return len(self._images)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in label order."""
        return self._images.class_names

    @property
    def fingerprint(self) -> str:
        """SHA-256 over images, labels and class names, as 64 hex digits."""
        return self._images.fingerprint

    def only(self, class_names: Sequence[str]) -> HeldOut:
        """The images of these classes alone, relabelled in the order given; sealed by itself.

        Raises:
            DataError: if a class is unknown here.
        """
        return HeldOut(self._images.only(class_names))

    def open(self, purpose: str) -> ImageSet:
        """Give the images out.

        Args:
            purpose: what for; it is logged.

        Raises:
            DataError: if they were given out before.
        """
        if self._opened_for is not None:
            raise DataError(
                f"the held-out images were given out for {self._opened_for}; they judge once, so "
                f"that nothing is chosen by them. Load the data again to use them for {purpose}"
            )
        self._opened_for = purpose
        _LOG.info("%d held-out images are given out for %s", len(self), purpose)
        return self._images
