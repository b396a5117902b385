"""Image files as one array of pixels of one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from modularizer.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

_GREY_MODES = frozenset({"1", "L", "LA"})


def read_image_files(
    paths: Sequence[Path], *, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Read image files, turned upright by their EXIF orientation, without transparency.

    Args:
        paths: at least one file; of an animation the first picture is taken.
        size: (height, width) in pixels to resize to (bilinear, antialiased, proportions not
            kept); when None all images must have one size already.

    Returns:
        uint8 (N, height, width, C): C is 1 if all files are grey, otherwise 3 (RGB).

    Raises:
        DataError: if a file is broken or not of 8 bits a channel (it is named), or if sizes
            differ (two files are named).
    """
    if size is not None and min(size) < 1:
        raise DataError(f"size must be (height, width), 1 or more pixels each, found {size}")
    pictures = [_read(path, size) for path in paths]
    for path, picture in zip(paths, pictures, strict=True):
        if picture.shape[:2] != pictures[0].shape[:2]:
            raise DataError(
                f"images must have one size: {paths[0]} is {_size(pictures[0])} and {path} is "
                f"{_size(picture)} (height x width); give a size to resize to"
            )
    channels = max(picture.shape[2] for picture in pictures)
    pixels = np.empty((len(pictures), *pictures[0].shape[:2], channels), dtype=np.uint8)
    for number, picture in enumerate(pictures):
        pixels[number] = picture  # a grey picture among coloured ones fills all three channels
    return pixels


def _read(path: Path, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            mode = image.mode
            if mode.startswith(("I", "F")):
                raise DataError(
                    f"{path} has more than 8 bits a channel (mode {mode}); convert it to 8 bits"
                )
            if mode in ("P", "PA"):  # straight to RGB warns about transparent palettes
                image = image.convert("RGBA")
            image = image.convert("L" if mode in _GREY_MODES else "RGB")
            if size is not None and image.size != size[::-1]:
                image = image.resize(size[::-1], Image.Resampling.BILINEAR)
            picture = np.asarray(image, dtype=np.uint8)
    except DataError:
        raise
    except Exception as error:  # a decoder meets broken files with errors of many kinds
        raise DataError(
            f"{path} can't be read as an image ({error}); repair it or take it out"
        ) from error
    return picture if picture.ndim == 3 else picture[..., np.newaxis]


def _size(picture: NDArray[np.uint8]) -> str:
    return f"{picture.shape[0]} x {picture.shape[1]}"
