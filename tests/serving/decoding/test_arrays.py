from __future__ import annotations

import ast
import gc
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from serving.decoding.arrays import images_from_npy
from serving.errors import InvalidArrayError, TooManyPixelsError
from tests.serving.samples import npy_bytes, random_images


def accept(images: int, height: int, width: int) -> None:
    pass


def never(images: int, height: int, width: int) -> None:
    raise TooManyPixelsError("too much")


def header_bytes(text: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


def header(shape: str, *, descr: str = "|u1", data: bytes = b"") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"
    return header_bytes(text, data)


@pytest.mark.parametrize(
    ("shape", "full"),
    [
        ((4, 6), (1, 4, 6, 1)),
        ((4, 6, 1), (1, 4, 6, 1)),
        ((4, 6, 3), (1, 4, 6, 3)),
        ((2, 4, 6), (2, 4, 6, 1)),
        ((2, 4, 6, 1), (2, 4, 6, 1)),
        ((2, 4, 6, 3), (2, 4, 6, 3)),
        ((1, 1), (1, 1, 1, 1)),
    ],
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_shape_and_order_comes_out_as_it_went_in(
    shape: tuple[int, ...],
    full: tuple[int, ...],
    version: tuple[int, int],
    order: str,
) -> None:
    array = random_images(*shape)
    stored = np.asfortranarray(array) if order == "F" else array
    images = images_from_npy(npy_bytes(stored, version=version), check=accept)
    assert images.dtype == np.uint8
    assert np.array_equal(images, array.reshape(full))


@pytest.mark.parametrize(
    "shape", [(), (5,), (2, 3, 4, 5), (2, 3, 4, 2), (2, 3, 4, 3, 1), (0, 4, 4, 3), (4, 0), (0,)]
)
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArrayError, match="expected"):
        images_from_npy(npy_bytes(np.zeros(shape, np.uint8)), check=accept)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", ">f4", "i8", "u2", "?", "S3", "M8[s]", "c8"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises(InvalidArrayError, match="expected uint8 images"):
        images_from_npy(npy_bytes(np.zeros((4, 4), dtype)), check=accept)


def test_structured_dtypes_are_refused() -> None:
    array = np.zeros((4, 4), np.dtype([("a", "u1")]))
    with pytest.raises(InvalidArrayError, match="expected uint8 images"):
        images_from_npy(npy_bytes(array), check=accept)


def test_nan_and_infinity_are_named() -> None:
    array = np.zeros((4, 4), np.float32)
    array[0, 0], array[1, 1], array[2, 2] = np.nan, np.nan, np.inf
    with pytest.raises(InvalidArrayError, match="found float32 with 2 NaN and 1 infinite"):
        images_from_npy(npy_bytes(array), check=accept)


def test_objects_are_never_unpickled() -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return pytest.fail, ("unpickled",)

    array = np.empty((2, 2), dtype=object)
    array[:] = Trap()
    with pytest.raises(InvalidArrayError, match="objects are never read"):
        images_from_npy(npy_bytes(array), check=accept)


def test_fewer_or_more_bytes_than_promised_are_refused() -> None:
    body = npy_bytes(random_images(4, 6))
    for wrong in (body[:-1], body + b"\0"):
        with pytest.raises(InvalidArrayError, match="promises 24 bytes"):
            images_from_npy(wrong, check=accept)


def test_a_promise_of_terabytes_allocates_nothing() -> None:
    with pytest.raises(InvalidArrayError, match="promises 1000000000000000000000000 bytes"):
        images_from_npy(header("(1000000000000, 1000000000000)"), check=accept)


def test_the_limit_is_asked_before_the_pixels_are_touched() -> None:
    with pytest.raises(TooManyPixelsError):
        images_from_npy(npy_bytes(random_images(4, 6)), check=never)


@pytest.mark.parametrize(
    "body",
    [
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x01\x00\xff\xff",
        b"\x93NUMPY\x03\x00\x00\x00\x00\x00",
        b"\x93NUMPY\x09\x00" + bytes(100),
        header_bytes("{}"),
        header_bytes("__import__('os')"),
        header_bytes("(" * 500),
        header_bytes("-" * 900 + "1"),
        header_bytes("[" * 90 + "]" * 90),
        header_bytes("\x00\xff" * 20),
        header("(-1, -24)", data=bytes(24)),
        header("(True, 24)", data=bytes(24)),
        header("(4.0, 6)", data=bytes(24)),
        header("4", data=bytes(4)),
        header("(4, 6)", descr="|O", data=bytes(192)),
        header("(4, 6)", descr="nonsense", data=bytes(24)),
        header("(4, 6L)", data=bytes(23)),
        header("(4, 6)" + " " * 5000, data=bytes(24)),
    ],
)
def test_broken_headers_are_an_error(body: bytes) -> None:
    with pytest.raises(InvalidArrayError):
        images_from_npy(body, check=accept)


class _Cycle:
    """Garbage that lets another thread go on while it is collected."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        for _ in range(50):
            pass


def test_what_other_threads_parse_does_not_break_a_header() -> None:
    body = npy_bytes(random_images(1, 8, 8, 1))
    source = Path(__file__).read_text()
    is_over = threading.Event()
    failures: list[str] = []

    def parse() -> None:
        while not is_over.is_set():
            with suppress(SystemError):
                ast.parse(source)

    def read() -> None:
        for _ in range(1000):
            assert [_Cycle() for _ in range(3)]
            try:
                images_from_npy(body, check=lambda *_: None)
            except InvalidArrayError as error:
                failures.append(str(error))

    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(20)
    try:
        parsers, readers = ([Thread(target=work) for _ in range(2)] for work in (parse, read))
        for thread in (*parsers, *readers):
            thread.start()
        for thread in readers:
            thread.join()
        is_over.set()
        for thread in parsers:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*threshold)
    assert failures == []
