from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from serving.decoding.images import decode_images
from serving.decoding.limits import ImageLimits
from serving.decoding.webp import is_webp, webp_size
from serving.errors import ImageError, InvalidImageError, TooManyPixelsError
from tests.serving.samples import encode, random_images

LIMITS = ImageLimits(max_images=10, max_pixels=10_000, max_request_pixels=30_000)
PIXELS = random_images(11, 17, 3)
EXIF = Image.Exif()
EXIF[0x0112] = 6  # to be turned by 90 degrees clockwise
FILES = {
    "lossless": encode(Image.fromarray(PIXELS), "WEBP", lossless=True),
    "lossy": encode(Image.fromarray(PIXELS), "WEBP", quality=90),
    "extended": encode(Image.fromarray(PIXELS), "WEBP", lossless=True, exif=EXIF),
}


def riff(kind: bytes, data: bytes) -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("name", FILES)
def test_the_declared_size_is_pillow_s(name: str) -> None:
    with Image.open(io.BytesIO(FILES[name])) as image:
        assert image.format == "WEBP"
        assert webp_size(FILES[name]) == (image.height, image.width) == (11, 17)


def test_a_lossless_picture_comes_out_as_it_went_in() -> None:
    [found] = decode_images([FILES["lossless"]], LIMITS)
    assert np.array_equal(found, PIXELS)


def test_it_is_turned_as_exif_says() -> None:
    [found] = decode_images([FILES["extended"]], LIMITS)
    assert np.array_equal(found, np.rot90(PIXELS, k=-1))


def test_transparent_parts_are_white() -> None:
    image = Image.new("RGBA", (2, 1), (200, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    body = encode(image, "WEBP", lossless=True, exact=True)
    [found] = decode_images([body], LIMITS)
    assert found.tolist() == [[[200, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize(
    "body",
    [
        riff(b"VP8X", bytes(4) + b"\xff\xff\xff" + b"\xff\xff\xff"),
        riff(b"VP8L", b"\x2f\xff\xff\xff\x0f" + bytes(5)),
        riff(b"VP8 ", b"\x00\x00\x00\x9d\x01\x2a\xff\x3f\xff\x3f"),
    ],
)
def test_a_bomb_is_refused_before_pillow_sees_it(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("it was opened")

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(TooManyPixelsError, match="at most 10000 pixels an image, found 16"):
        decode_images([body], LIMITS)


def test_an_animation_is_no_picture() -> None:
    frames = [Image.fromarray(random_images(8, 8, 3, seed=seed)) for seed in range(3)]
    body = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(InvalidImageError, match="is an animation"):
        decode_images([body], LIMITS)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (riff(b"VP8L", b"\x2f"), "it ends after 21 bytes"),
        (riff(b"VP8L", b"\x30" + bytes(9)), "header can't be read"),
        (riff(b"VP8 ", bytes(10)), "header can't be read"),
        (riff(b"VP8 ", b"\x00\x00\x00\x9d\x01\x2a" + bytes(4)), "declares 0 x 0 pixels"),
        (riff(b"ABCD", bytes(10)), "header can't be read"),
        (riff(b"VP8X", bytes(10)), "this WEBP is broken"),
    ],
)
def test_a_broken_header_is_told(body: bytes, message: str) -> None:
    with pytest.raises(InvalidImageError, match=message):
        decode_images([body], LIMITS)


@given(st.sampled_from(sorted(FILES)), st.integers(0, 400), st.binary(max_size=6))
def test_broken_bytes_are_an_error_or_a_picture(name: str, place: int, change: bytes) -> None:
    good = FILES[name]
    # Without a change it is cut off.
    rest = good[place + len(change) :] if change else b""
    body = good[:place] + change + rest
    if is_webp(body):
        try:
            [found] = decode_images([body], LIMITS)
        except ImageError:
            return
        assert found.dtype == np.uint8
