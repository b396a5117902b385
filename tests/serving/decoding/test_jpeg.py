from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from serving.decoding.images import decode_images
from serving.decoding.jpeg import MAX_FILL_BYTES, MAX_SCANS, MAX_SEGMENTS, require_little_work
from serving.decoding.limits import ImageLimits
from serving.errors import InvalidImageError
from tests.serving.samples import encode, random_images

LIMITS = ImageLimits(max_images=1, max_pixels=10_000, max_request_pixels=10_000)
SCAN = b"\xff\xda"
EXIF = b"\xff\xe1\x00\x0cExif\x00\x00abcd"


def jpeg(*, progressive: bool = True) -> bytes:
    return encode(Image.fromarray(random_images(24, 24, 3)), "JPEG", progressive=progressive)


def with_scans(scans: int) -> bytes:
    """So many in all, the last one again and again."""
    body = jpeg()
    last = body.rindex(SCAN)
    return body[:-2] + body[last:-2] * (scans - body.count(SCAN)) + body[-2:]


def after_start(inserted: bytes) -> bytes:
    return jpeg()[:2] + inserted + jpeg()[2:]


@pytest.mark.parametrize("progressive", [True, False])
def test_what_cameras_and_programs_write_passes(*, progressive: bool) -> None:
    body = jpeg(progressive=progressive)
    require_little_work(body)
    rest = body + SCAN * 500  # a film after the picture
    assert np.array_equal(decode_images([rest], LIMITS), decode_images([body], LIMITS))


def test_scans_are_counted() -> None:
    require_little_work(with_scans(MAX_SCANS))
    with pytest.raises(InvalidImageError, match="at most 100 scans"):
        decode_images([with_scans(MAX_SCANS + 1)], LIMITS)


def test_segments_are_counted() -> None:
    require_little_work(after_start(EXIF * (MAX_SEGMENTS - 50)))
    with pytest.raises(InvalidImageError, match="512 other segments"):
        decode_images([after_start(EXIF * MAX_SEGMENTS)], LIMITS)


def test_fill_bytes_are_counted() -> None:
    require_little_work(after_start(b"\xff" * MAX_FILL_BYTES))
    with pytest.raises(InvalidImageError, match="65536 bytes between"):
        decode_images([after_start(b"\xff" * (MAX_FILL_BYTES + 1))], LIMITS)


def test_bytes_that_look_like_scans_inside_a_segment_are_none() -> None:
    body = after_start(b"\xff\xfe\x07\xd2" + SCAN * 1000)  # a comment of 2000 bytes
    require_little_work(body)
    assert decode_images([body], LIMITS)


@pytest.mark.parametrize(
    "marker", [b"\xff\x02", b"\xff\xc8", b"\xff\xd9", b"\xff\xf0", b"\xff\xd8"]
)
def test_no_marker_without_a_length_hides_what_comes_after_it(marker: bytes) -> None:
    hidden = marker + b"\xff\xfd"  # a length of 65533, if it were one
    with pytest.raises(InvalidImageError, match="too much work"):
        require_little_work(after_start(hidden + EXIF * (MAX_SEGMENTS + 1)))
    if marker != b"\xff\xd9":
        scans = with_scans(MAX_SCANS + 1)
        first = scans.index(SCAN) + 20  # in the middle of the first one
        with pytest.raises(InvalidImageError, match="too much work"):
            require_little_work(scans[:first] + hidden + scans[first:])


def test_a_broken_file_is_left_to_the_decoder() -> None:
    body = jpeg()
    for end in range(2, len(body)):
        require_little_work(body[:end])
    with pytest.raises(InvalidImageError, match="broken"):
        decode_images([body[:200]], LIMITS)
