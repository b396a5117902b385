"""A few images that the operator laid out, to try the service with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.decoding.webp import is_webp

logger = logging.getLogger(__name__)

MOST_SAMPLES = 24
MOST_BYTES = 2**20

_MEDIA_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True)
class SampleImage:
    """One image file.

    Attributes:
        name: of the file, without a folder.
        media_type: as its first bytes say.
        content: the whole file.
    """

    name: str
    media_type: str
    content: bytes


def read_samples(folder: Path | None) -> Mapping[str, SampleImage]:
    """The images in a folder, by name and in the order of their names.

    What is no PNG, JPEG or WebP file of less than 1 MiB is passed over, and so is what comes
    after the first 24; a warning says so. Nothing is read later on.

    Args:
        folder: None for no images; one that can't be read is told of and has none.
    """
    if folder is None:
        return {}
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        logger.warning("there are no samples: %s can't be read: %s", folder, error.strerror)
        return {}
    samples: dict[str, SampleImage] = {}
    for path in paths:
        if len(samples) == MOST_SAMPLES:
            logger.warning("samples of %s after the first %d are left out", folder, MOST_SAMPLES)
            break
        sample = _read(path)
        if sample is None:
            # As it would be written in Python: its bytes need not be UTF-8, and a log's have to.
            logger.warning("%r is no sample: no image file of less than 1 MiB", str(path))
        else:
            samples[sample.name] = sample
    return samples


def _read(path: Path) -> SampleImage | None:
    try:
        if not path.is_file():  # opening a pipe would wait for somebody to write to it
            return None
        path.name.encode()  # bytes that are no UTF-8 could not be named in an address
        with path.open("rb") as file:
            content = file.read(MOST_BYTES)
    except (OSError, UnicodeEncodeError):
        return None
    media_type = _media_type(content)
    if media_type is None or len(content) == MOST_BYTES:
        return None
    return SampleImage(path.name, media_type, content)


def _media_type(content: bytes) -> str | None:
    if is_webp(content):
        return "image/webp"
    return next((name for magic, name in _MEDIA_TYPES.items() if content.startswith(magic)), None)
