"""A labelled set of images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modularizer.errors import DataError


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels, as everything downstream takes them.

    Attributes:
        images: uint8, shape (N, H, W, C), C is 1 (grey) or 3 (RGB).
        labels: int64, shape (N,); ``labels[i]`` indexes ``class_names``.
        class_names: the name of each class; classes are matched by name, never by index.

    Raises:
        DataError: if dtypes, shapes, labels or names don't fit.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        require_uint8_images(self.images)
        if self.labels.shape != (len(self.images),) or self.labels.dtype != np.int64:
            raise DataError(
                f"expected one int64 label for each of {len(self.images)} images, found "
                f"{self.labels.dtype} of shape {self.labels.shape}"
            )
        if len(set(self.class_names)) != len(self.class_names) or not self.class_names:
            raise DataError(f"class names must be distinct and at least one: {self.class_names}")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(
            self.class_names
        ):
            raise DataError(
                f"labels must lie in 0..{len(self.class_names) - 1} (one per class name), found "
                f"{self.labels.min()}..{self.labels.max()}"
            )

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over images, labels and class names, as 64 hex digits."""
        digest = hashlib.sha256(repr((self.images.shape, self.class_names)).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()

    def class_index(self, class_name: str) -> int:
        """The label of ``class_name``.

        Raises:
            DataError: if there is no such class.
        """
        if class_name not in self.class_names:
            raise DataError(
                f"no class {class_name!r} here; the classes are {', '.join(self.class_names)}"
            )
        return self.class_names.index(class_name)

    def take(self, indices: NDArray[Any]) -> ImageSet:
        """The images at ``indices`` (int or bool array), in that order."""
        return ImageSet(self.images[indices], self.labels[indices], self.class_names)

    def only(self, class_names: Sequence[str]) -> ImageSet:
        """The images of these classes alone, relabelled in the order the names are given in.

        Raises:
            DataError: if a class is unknown here.
        """
        new_label = np.full(len(self.class_names), -1, dtype=np.int64)
        for new, name in enumerate(class_names):
            new_label[self.class_index(name)] = new
        labels = new_label[self.labels]
        kept = labels >= 0
        return ImageSet(self.images[kept], labels[kept], tuple(class_names))

    def of_class(self, class_name: str) -> NDArray[np.uint8]:
        """The images of one class, uint8 (N, H, W, C).

        Raises:
            DataError: if the class is unknown or has no image.
        """
        images: NDArray[np.uint8] = self.images[self.labels == self.class_index(class_name)]
        if not len(images):
            raise DataError(f"class {class_name!r} has no image in this set")
        return images


def require_uint8_images(images: NDArray[Any]) -> None:
    """Refuse anything but uint8 images of shape (N, H, W, 1 or 3).

    Raises:
        DataError: with what was expected and what was found.
    """
    if images.dtype != np.uint8:
        nan = " (with NaN)" if images.dtype.kind == "f" and np.isnan(images).any() else ""
        raise DataError(
            f"expected uint8 images (0-255), found {images.dtype}{nan}; "
            "scale to 0-255 and convert first"
        )
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape[1:]:
        raise DataError(
            f"expected images of shape (N, height, width, 1 or 3), found {images.shape}"
        )
