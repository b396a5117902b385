"""A Pillow image of any mode as the pixels that a person would see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def pixels_as_seen(image: Image.Image) -> NDArray[np.uint8]:
    """Turned as EXIF says, palettes and CMYK as RGB, transparent parts on white, 8 bits a channel.

    Args:
        image: opened, decoded or not.

    Returns:
        uint8 (H, W, C): C is 1 for grey, else 3 (RGB).

    Raises:
        ValueError: if its pixels are floating point or 32-bit: nobody knows their range.
        Exception: Pillow's, of many kinds, if it can't be decoded.
    """
    if image.mode in ("F", "I"):
        raise ValueError("its pixels are floating point or 32-bit; convert it to 8 or 16 bits")
    image.load()
    image = _upright(image)
    if image.mode.startswith("I"):  # 16-bit grey
        wide = np.asarray(image).astype(np.int64)
        scaled: NDArray[np.uint8] = np.clip(wide >> 8, 0, 255).astype(np.uint8)
        return scaled[:, :, None]
    if image.has_transparency_data:
        image = _on_white(image)
    grey = image.mode in ("1", "L")
    pixels = np.asarray(image.convert("L" if grey else "RGB"), dtype=np.uint8)
    return pixels[:, :, None] if grey else pixels


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF says; broken EXIF leaves it as it is."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels are fine: a person's viewer would show them
        return image


def _on_white(image: Image.Image) -> Image.Image:
    grey = image.mode in ("1", "L", "LA", "La")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("L" if grey else "RGB")
