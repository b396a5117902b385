from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from serving.decoding.images import decode_images
from serving.decoding.limits import ImageLimits
from serving.errors import (
    EmptyBodyError,
    InvalidImageError,
    RequestError,
    TooManyImagesError,
    TooManyPixelsError,
    UnsupportedFormatError,
)
from tests.serving.samples import encode, npy_bytes, random_images

LIMITS = ImageLimits(max_images=10, max_pixels=10_000, max_request_pixels=30_000)


def decode(body: bytes, limits: ImageLimits = LIMITS) -> NDArray[np.uint8]:
    (image,) = decode_images([body], limits)
    return image


def chunk(kind: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data) & 0xFFFFFFFF)
    )


def png(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_png_comes_out_as_it_went_in() -> None:
    colour, grey = random_images(5, 7, 3), random_images(5, 7)
    assert np.array_equal(decode(encode(Image.fromarray(colour))), colour)
    assert np.array_equal(decode(encode(Image.fromarray(grey))), grey[:, :, None])


def test_jpeg_equals_what_pillow_decodes() -> None:
    body = encode(Image.fromarray(random_images(16, 16, 3)), "JPEG")
    image = decode(body)
    assert image.shape == (16, 16, 3)
    assert image.dtype == np.uint8


def test_exif_rotation_is_applied() -> None:
    pixels = random_images(4, 6, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = decode(encode(Image.fromarray(pixels), exif=exif))
    assert np.array_equal(turned, np.rot90(pixels, k=-1))


def test_broken_exif_leaves_the_image_as_it_is() -> None:
    pixels = random_images(4, 6, 3)
    body = encode(Image.fromarray(pixels), exif=b"Exif\x00\x00nonsense")
    assert np.array_equal(decode(body), pixels)


def test_palette_becomes_rgb() -> None:
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    assert np.array_equal(decode(encode(image)), np.full((2, 3, 3), (10, 20, 30)))


def test_transparent_parts_are_white() -> None:
    image = Image.new("RGBA", (2, 1), (200, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    assert decode(encode(image)).tolist() == [[[200, 0, 0], [255, 255, 255]]]


def test_transparent_grey_stays_one_channel() -> None:
    image = Image.new("LA", (2, 1), (90, 255))
    image.putpixel((1, 0), (0, 0))
    assert decode(encode(image)).tolist() == [[[90], [255]]]


def test_a_transparent_palette_entry_is_white() -> None:
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((1, 0), 0)
    assert decode(encode(image, transparency=0)).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_cmyk_jpeg_becomes_rgb() -> None:
    body = encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    image = decode(body)
    assert image.shape == (8, 8, 3)
    assert np.abs(image.astype(int) - (255, 0, 0)).max() < 10


def test_16_bit_grey_is_scaled_to_8_bits() -> None:
    body = png(2, 1, 16, 0, b"\x00" + struct.pack(">HH", 0x1234, 0xFFFF))
    assert decode(body).tolist() == [[[0x12], [0xFF]]]


def test_16_bit_rgb_is_scaled_to_8_bits() -> None:
    body = png(1, 1, 16, 2, b"\x00" + struct.pack(">HHH", 0x1234, 0x8000, 0xFFFF))
    assert np.abs(decode(body).astype(int) - (0x12, 0x80, 0xFF)).max() <= 1


def test_a_bitmap_of_one_bit_becomes_black_and_white() -> None:
    image = Image.new("1", (2, 1), 1)
    image.putpixel((0, 0), 0)
    assert decode(encode(image)).tolist() == [[[0], [255]]]


def refusal(body: bytes) -> RequestError | None:
    """The error that decoding ends in, or None for an image."""
    try:
        image = decode(body)
    except RequestError as error:
        return error
    assert image.dtype == np.uint8
    assert image.ndim == 3
    return None


@pytest.mark.parametrize("name", ["PNG", "JPEG"])
def test_truncation_anywhere_is_an_error(name: str) -> None:
    body = encode(Image.fromarray(random_images(12, 12, 3)), name)
    for end in range(1, len(body) - 16, 7):  # a PNG may lack its end chunk
        error = refusal(body[:end])
        assert error is not None
        assert error.status in (415, 422)
        assert "0x7" not in str(error)


@pytest.mark.parametrize("name", ["PNG", "JPEG"])
def test_corrupt_bytes_are_an_error_or_an_image(name: str) -> None:
    body = encode(Image.fromarray(random_images(12, 12, 3)), name)
    random = np.random.default_rng(1)
    for _ in range(300):
        broken = bytearray(body)
        for position in random.integers(0, len(body), 4):
            broken[position] = random.integers(0, 256)
        error = refusal(bytes(broken))
        assert error is None or error.status in (415, 422)


def test_a_bomb_is_refused_from_its_header() -> None:
    for side in (101, 20_000, 2**31 - 1):
        with pytest.raises(TooManyPixelsError, match=r"at most|larger"):
            decode(png(side, side, 8, 2, b"\x00" * 10))


def test_a_request_s_pixels_are_counted_together() -> None:
    body = encode(Image.fromarray(random_images(100, 90, 3)))
    assert len(decode_images([body] * 3, LIMITS)) == 3
    with pytest.raises(TooManyPixelsError, match="file 4: at most 30000 pixels a request"):
        decode_images([body] * 4, LIMITS)


def test_a_request_s_images_are_counted_together() -> None:
    bodies = [npy_bytes(random_images(6, 2, 2)), npy_bytes(random_images(5, 2, 2))]
    with pytest.raises(TooManyImagesError, match="file 2: at most 10 images"):
        decode_images(bodies, LIMITS)


def test_files_keep_their_order_and_their_sizes() -> None:
    first, several = random_images(5, 7, 3), random_images(2, 4, 4, 1)
    images = decode_images([encode(Image.fromarray(first)), npy_bytes(several)], LIMITS)
    assert [image.shape for image in images] == [(5, 7, 3), (4, 4, 1), (4, 4, 1)]
    assert np.array_equal(images[0], first)
    assert np.array_equal(images[2], several[1])


def test_the_broken_file_is_named() -> None:
    good = encode(Image.fromarray(random_images(5, 7, 3)))
    with pytest.raises(InvalidImageError, match=r"^file 2: this PNG is broken"):
        decode_images([good, good[:40]], LIMITS)


def test_no_bytes_are_an_error() -> None:
    with pytest.raises(EmptyBodyError):
        decode(b"")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"GIF89a" + bytes(20), "a GIF"),
        (b"PK\x03\x04" + bytes(20), r"\.npz"),
        (b"RIFF" + bytes(20), "WebP"),
        (b'  {"image": 1}', "JSON"),
        (b"\x80\x04\x95" + bytes(20), "80 04 95"),
        (b"\n\n<svg>", "markup"),
        (b"B", "begin with 42"),
    ],
)
def test_other_formats_are_named(body: bytes, found: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=found):
        decode(body)


def test_a_polyglot_is_only_ever_its_first_format() -> None:
    pixels = random_images(4, 6, 3)
    body: Any = encode(Image.fromarray(pixels)) + b"PK\x03\x04 and more"
    assert np.array_equal(decode(body), pixels)
