"""Image files as one array of pixels of one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modularizer.datasets.pixels import pixels_as_seen
from modularizer.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


def read_image_files(
    paths: Sequence[Path], *, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Read image files as a person sees them: upright, transparent parts on white.

    The service decodes with the same function, `modularizer.datasets.pixels.pixels_as_seen`.

    Args:
        paths: at least one file; of an animation the first picture is taken.
        size: (height, width) in pixels to resize to (bilinear, antialiased, proportions not
            kept); when None all images must have one size already.

    Returns:
        uint8 (N, height, width, C): C is 1 if all files are grey, otherwise 3 (RGB).

    Raises:
        DataError: if a file is broken or its pixels are floating point (it is named), or if
            sizes differ (two files are named).
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


def read_image_file(path: Path, *, max_pixels: int | None = None) -> NDArray[np.uint8]:
    """Read one image file as `read_image_files` does, at its own size.

    Args:
        path: of an animation the first picture is taken.
        max_pixels: height times width at most, told from the header before anything is decoded;
            None for Pillow's own limit.

    Returns:
        uint8 (H, W, C): C is 1 for grey, else 3 (RGB).

    Raises:
        DataError: if it is no regular file, is broken, has floating-point pixels or too many; the
            message begins with the path.
    """
    try:
        if not path.is_file():  # a named pipe would be waited for without end
            raise DataError(f"{path} is no file that can be read")
        with Image.open(path) as image:
            if max_pixels is not None and image.height * image.width > max_pixels:
                raise DataError(
                    f"{path} has {image.height} x {image.width} pixels, more than {max_pixels}; "
                    "make it smaller first or allow more"
                )
            return pixels_as_seen(image)
    except DataError:
        raise
    except Exception as error:  # a decoder meets broken files with errors of many kinds
        raise DataError(
            f"{path} can't be read as an image ({error}); repair it or take it out"
        ) from error


def _read(path: Path, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    picture = read_image_file(path)
    if size is None or picture.shape[:2] == size:
        return picture
    flat = picture[:, :, 0] if picture.shape[2] == 1 else picture
    resized = Image.fromarray(flat).resize(size[::-1], Image.Resampling.BILINEAR)
    pixels: NDArray[np.uint8] = np.asarray(resized, dtype=np.uint8)
    return pixels.reshape(*size, picture.shape[2])


def _size(picture: NDArray[np.uint8]) -> str:
    return f"{picture.shape[0]} x {picture.shape[1]}"
