"""Hostile bodies of POST /predict, against the real service."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from serving.client import npy_bytes
from tests.serving.samples import encode, random_images
from tests.serving.samples import npy_bytes as any_npy_bytes

PICTURE = Image.fromarray(random_images(32, 32, 3))
FILES = {
    "PNG": encode(PICTURE),
    "JPEG": encode(PICTURE, "JPEG"),
    "progressive JPEG": encode(PICTURE, "JPEG", progressive=True),
    "WebP": encode(PICTURE, "WEBP"),
    "lossless WebP": encode(PICTURE, "WEBP", lossless=True),
    "npy": npy_bytes(random_images(3, 8, 8, 3)),
}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}


def refusal(response: httpx.Response) -> tuple[int, str]:
    """The status and the code of an answer that is an error of the client's."""
    assert 400 <= response.status_code < 500, response.text
    return response.status_code, response.json()["error"]["code"]


@pytest.mark.parametrize("name", FILES)
def test_images_that_end_early(connection: httpx.Client, name: str) -> None:
    whole = FILES[name]
    assert connection.post("/predict", content=whole).status_code == 200
    for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9):
        found = refusal(connection.post("/predict", content=whole[: int(share * len(whole))]))
        assert found[0] in (415, 422)


@pytest.mark.parametrize("name", FILES)
def test_images_with_changed_bytes(connection: httpx.Client, name: str) -> None:
    """Decoders forgive some of it; then it's a picture like any other."""
    generator = np.random.default_rng(0)
    for _ in range(25):
        changed = bytearray(FILES[name])
        for place in generator.integers(0, len(changed), 6):
            changed[place] = generator.integers(0, 256)
        response = connection.post("/predict", content=bytes(changed))
        assert response.status_code == 200 or refusal(response)[0] in (415, 422)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_zeros(height: int, width: int) -> bytes:
    """All of it, compressed a thousand times."""
    packer = zlib.compressobj(9)
    row = bytes(1 + width)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_bombs(connection: httpx.Client) -> None:
    """100 million pixels in 100 KB; a text of 200 MB in a PNG's comment; terabytes of .npy."""
    bomb = png_of_zeros(10_000, 10_000)
    assert len(bomb) < 200_000
    assert refusal(connection.post("/predict", content=bomb)) == (422, "too_many_pixels")
    text = zlib.compress(bytes(200 * 2**20), 9)
    small = FILES["PNG"]
    bomb = small[:33] + chunk(b"zTXt", b"a\0\0" + text) + small[33:]
    assert refusal(connection.post("/predict", content=bomb)) == (422, "invalid_image")
    header = any_npy_bytes(np.zeros((1, 1), np.uint8)).replace(b"(1, 1)", b"(10**6, 10**6)")
    refusal(connection.post("/predict", content=header))
    gigapixels = b"RIFF\x16\0\0\0WEBPVP8X\n\0\0\0\0\0\0\0" + b"\xfe\xff\xff" * 2
    assert refusal(connection.post("/predict", content=gigapixels)) == (422, "too_many_pixels")
    many = [("image", bytes_) for bytes_ in [png_of_zeros(4000, 4000)] * 5]
    response = connection.post("/predict", files=many)
    assert refusal(response) == (422, "too_many_pixels")


def test_polyglots_are_what_they_begin_with(connection: httpx.Client) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("arr_0.npy", FILES["npy"])
    for name in ("PNG", "JPEG"):
        expected = connection.post("/predict", content=FILES[name]).json()["predictions"]
        for more in (archive.getvalue(), b"<script>alert(1)</script>", pickle.dumps([1])):
            response = connection.post("/predict", content=FILES[name] + more)
            assert response.json()["predictions"] == expected
    for first in (archive.getvalue(), b"GIF89a", b"%PDF-1.7\n", b"<svg>", b"BM", b"II*\0"):
        response = connection.post("/predict", content=first + FILES["PNG"])
        assert refusal(response) == (415, "unsupported_format")


def test_no_bytes(connection: httpx.Client) -> None:
    assert refusal(connection.post("/predict", content=b"")) == (400, "empty_body")
    assert refusal(connection.post("/predict", files={"a": b""})) == (400, "empty_body")
    for kind in ("application/json", "image/png", "application/octet-stream"):
        response = connection.post("/predict", content=b"", headers={"Content-Type": kind})
        assert refusal(response) == (400, "empty_body")


@pytest.mark.parametrize("kind", ["declared", "of unknown length", "a form"])
def test_bodies_of_100_megabytes(connection: httpx.Client, kind: str) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(10**6)

    content: Any = pieces() if kind == "of unknown length" else bytes(10**8)
    given: Any = {"files": {"a": content}} if kind == "a form" else {"content": content}
    for path in ("/predict", "/v2/models/served/infer"):
        response = connection.post(path, **given)
        assert response.status_code == 413
        if kind == "of unknown length":
            given = {"content": pieces()}


FORMS = [
    b"",
    b"--x",
    b"--x\r\n",
    b"--x--\r\n",
    b"--y\r\n\r\na\r\n--y--\r\n",
    b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nno end",
    b"--x\r\nContent-Disposition: form-data; name=a; filename=\r\n\r\na\r\n--x--\r\n",
    b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n",
    b"--x\r\nContent-Disposition:\r\n\r\na\r\n--x--\r\n",
    b"--x\r\n" + b"a: b\r\n" * 5000 + b"\r\na\r\n--x--\r\n",
    b"--x\r\nContent-Disposition: form-data; name=" + b"a" * 10**6 + b"\r\n\r\na\r\n--x--\r\n",
    b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n" + b"a" * 10**6 + b"\r\n--x--\r\n",
    b"--x\r\nContent-Disposition: form-data; name=a; filename*=utf-99''%ff\r\n\r\na\r\n--x--\r\n",
    b"--x\r\nContent-Disposition: form-data; name=a; filename=../../a\r\n\r\nb\r\n--x--\r\n",
    b"--x\r\n\0\xff\r\n\r\n--x--",
    b"\r\n".join([b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\na"] * 500) + b"\r\n--x--",
    b"\r\n".join([b"--x\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\na"] * 3000)
    + b"\r\n--x--",
    bytes(10**6),
]


@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
def test_malformed_multipart(connection: httpx.Client, form: bytes) -> None:
    for headers in (FORM, {"Content-Type": "multipart/form-data"}):
        refusal(connection.post("/predict", content=form, headers=headers))


@pytest.mark.parametrize(
    "boundary", ["", "=", '"', "a" * 5000, "%00", 'x"; charset=utf-7', "x; charset=rot13"]
)
def test_odd_boundaries(connection: httpx.Client, boundary: str) -> None:
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    response = connection.post("/predict", content=b"--x\r\n\r\na\r\n--x--\r\n", headers=kind)
    assert refusal(response) == (400, "bad_multipart")


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.bentoml+pickle",
        "application/vnd.bentoml.pickle",
        "application/vnd.bentoml.stream",
        "application/python-pickle",
        "application/x-pickle",
        "application/octet-stream",
    ],
)
def test_pickles_are_never_opened(connection: httpx.Client, tmp_path: Path, kind: str) -> None:
    made = tmp_path / "made"
    assert pickle.loads(pickle.dumps(Touch(made))) is None
    made.unlink()
    objects = np.empty((2, 2), dtype=object)
    objects[:] = Touch(made)
    bodies = [pickle.dumps(Touch(made)), any_npy_bytes(objects)]
    headers = {"Content-Type": kind, "Payload-Container": "NdarrayContainer"}
    for path in (
        "/predict",
        "/v2/models/served/infer",
        "/v2/repository/index",
        "/predict?explain=1",
    ):
        for body in bodies:
            response = connection.post(path, content=body, headers=headers)
            assert 400 <= response.status_code < 500
    for body in bodies:
        response = connection.post("/predict", files={"image": ("a.pkl", body, kind)})
        assert refusal(response)[0] in (415, 422)
    assert not made.exists()
