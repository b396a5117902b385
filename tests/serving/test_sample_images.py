from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from PIL import Image

from serving.sample_images import MOST_BYTES, MOST_SAMPLES, read_samples
from tests.serving.samples import encode, random_images

PICTURE = Image.fromarray(random_images(4, 4))


def test_images_are_read_with_the_type_of_their_bytes(tmp_path: Path) -> None:
    for name, kind in (("b.txt", "PNG"), ("a b#?.png", "JPEG"), ("\u00fc.jpg", "WEBP")):
        (tmp_path / name).write_bytes(encode(PICTURE, kind))
    samples = read_samples(tmp_path)
    assert [(one.name, one.media_type) for one in samples.values()] == [
        ("a b#?.png", "image/jpeg"),
        ("b.txt", "image/png"),
        ("\u00fc.jpg", "image/webp"),
    ]
    assert list(samples) == [one.name for one in samples.values()]
    assert samples["b.txt"].content == encode(PICTURE)


def test_what_is_no_sample_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    png = encode(PICTURE)
    (tmp_path / "fits.png").write_bytes(png + bytes(MOST_BYTES - 1 - len(png)))
    (tmp_path / "large.png").write_bytes(png + bytes(MOST_BYTES - len(png)))
    (tmp_path / "page.png").write_bytes(b"<svg onload='alert(1)'/>")
    (tmp_path / "empty.png").touch()
    (tmp_path / ".hidden.png").write_bytes(png)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(png)
    with caplog.at_level(logging.WARNING):
        assert list(read_samples(tmp_path)) == ["fits.png"]
    assert "large.png' is no sample" in caplog.text
    caplog.text.encode()


def test_there_are_at_most_twenty_four(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(MOST_SAMPLES + 2):
        (tmp_path / f"{number:02}.png").write_bytes(encode(PICTURE))
    assert list(read_samples(tmp_path)) == [f"{number:02}.png" for number in range(24)]
    assert "after the first 24" in caplog.text


def test_no_folder_and_one_that_is_not_there_have_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_samples(None) == {}
    assert not caplog.text
    assert read_samples(tmp_path / "nothing") == {}
    assert "No such file" in caplog.text
