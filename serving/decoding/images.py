"""The bytes of a request to uint8 images."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modularizer.datasets.pixels import pixels_as_seen
from serving.decoding.arrays import MAGIC as NPY_MAGIC
from serving.decoding.arrays import images_from_npy
from serving.decoding.jpeg import require_little_work
from serving.decoding.limits import ImageCount, ImageLimits
from serving.decoding.webp import is_webp, webp_size
from serving.errors import (
    EmptyBodyError,
    ImageError,
    InvalidImageError,
    TooManyPixelsError,
    UnsupportedFormatError,
)

_PILLOW_FORMATS = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}

_REFUSED = {
    b"PK\x03\x04": "a ZIP archive (an .npz?); send one array as .npy",
    b"GIF8": "a GIF",
    b"RIFF": "a RIFF file that is no WebP (sound or video?)",
    b"BM": "a BMP",
    b"II*\x00": "a TIFF",
    b"MM\x00*": "a TIFF",
    b"%PDF": "a PDF",
    b"{": "JSON; send the image's bytes themselves",
    b"<": "markup (SVG or HTML)",
}

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class ImageDecoder:
    """Decodes the images of one request; what it has seen counts towards the limits.

    Args:
        limits: kept from the headers, before any pixel is decoded.
    """

    def __init__(self, limits: ImageLimits) -> None:
        self.limits = limits
        self.count = ImageCount(limits)

    def decode(self, body: bytes) -> list[NDArray[np.uint8]]:
        """The image, or for .npy the images, in these bytes.

        The format is told from the first bytes: a content type is often wrong. Images come out
        as `modularizer.datasets.pixels.pixels_as_seen` gives them.

        Args:
            body: a whole PNG, JPEG, WebP or .npy file.

        Returns:
            uint8 (H, W, C) each, C is 1 or 3.

        Raises:
            RequestError: the subclass that says what is wrong with the bytes.
        """
        if not body:
            raise EmptyBodyError("expected a PNG, JPEG, WebP or .npy file, found no bytes")
        if body.startswith(NPY_MAGIC):
            return list(images_from_npy(body, check=self.count.add))
        if is_webp(body):
            self.count.require_size(*webp_size(body))
            return [self._decode_with_pillow(body, "WEBP")]
        for magic, name in _PILLOW_FORMATS.items():
            if body.startswith(magic):
                if name == "JPEG":
                    require_little_work(body)
                return [self._decode_with_pillow(body, name)]
        raise UnsupportedFormatError(
            f"expected a PNG, JPEG, WebP or .npy file, found {_describe(body)}"
        )

    def _decode_with_pillow(self, body: bytes, name: str) -> NDArray[np.uint8]:
        try:
            with Image.open(io.BytesIO(body), formats=(name,)) as image:
                self.count.add(1, image.height, image.width)
                return pixels_as_seen(image)
        except _BOMBS as error:
            raise TooManyPixelsError(
                f"this {name} is larger than {self.limits.max_pixels} pixels an image"
            ) from error
        except ImageError:
            raise
        except Exception as error:  # Pillow's plugins fail in many ways on broken bytes
            reason = (str(error) or type(error).__name__).splitlines()[0][:200]
            if "BytesIO" in reason:  # "cannot identify image file <_io.BytesIO object at 0x...>"
                reason = "its header can't be read"
            raise InvalidImageError(f"this {name} is broken: {reason}") from error


def decode_images(bodies: Sequence[bytes], limits: ImageLimits) -> list[NDArray[np.uint8]]:
    """All images of a request, in order.

    Args:
        bodies: whole PNG, JPEG, WebP or .npy files; a .npy may hold several images.
        limits: for all of them together.

    Returns:
        uint8 (H, W, C) each, C is 1 or 3; sizes may differ.

    Raises:
        RequestError: the subclass that says what is wrong, with the file's number (from 1)
            before the message if there are several.
    """
    decoder = ImageDecoder(limits)
    images: list[NDArray[np.uint8]] = []
    for number, body in enumerate(bodies, start=1):
        try:
            images.extend(decoder.decode(body))
        except ImageError as error:
            if len(bodies) == 1:
                raise
            raise type(error)(f"file {number}: {error}") from error
    return images


def _describe(body: bytes) -> str:
    for magic, description in _REFUSED.items():
        if body.lstrip()[:8].startswith(magic):
            return description
    return f"bytes that begin with {body[:8].hex(' ')}"
