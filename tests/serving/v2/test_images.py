from __future__ import annotations

import base64
import re
from typing import Any

import numpy as np
import pytest

from serving.errors import RequestError, TooManyImagesError, TooManyPixelsError
from serving.v2.elements import pack_elements
from serving.v2.images import EncodedFiles, Pixels, UnitFloats
from tests.serving.samples import random_images
from tests.serving.v2.bodies import body, parse, tensor

SHAPES = [(4, 5, 1), (4, 5, 3), (2, 4, 5, 3), (1, 4, 5, 1), (3, 3, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", ["flat", "nested", "binary"])
def test_pixels_of_every_form(shape: tuple[int, ...], form: str) -> None:
    array = random_images(*shape)
    full = array if array.ndim == 4 else array[None]
    images = parse(encoded(array, "UINT8", form)).images
    assert isinstance(images, Pixels)
    assert [one.dtype for one in images.images] == [np.uint8] * len(full)
    assert np.array_equal(np.stack(images.images), full)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", ["flat", "nested", "binary"])
def test_floats_of_every_form(shape: tuple[int, ...], form: str) -> None:
    array = (random_images(*shape) / 255).astype(np.float32)
    full = array if array.ndim == 4 else array[None]
    images = parse(encoded(array, "FP32", form)).images
    assert isinstance(images, UnitFloats)
    assert [one.dtype for one in images.images] == [np.float32] * len(full)
    assert np.array_equal(np.stack(images.images), full)


def test_files_of_both_forms() -> None:
    files = [b"\x89PNG\xff", b"", b"\0" * 1000]
    texts = [base64.b64encode(one).decode() for one in files]
    in_json = tensor(shape=[3], datatype="BYTES", data=texts)
    raw = pack_elements(files)
    after_it = tensor(
        shape=[3], datatype="BYTES", data=None, parameters={"binary_data_size": len(raw)}
    )
    for encoding in (body(inputs=[in_json]), body(raw, inputs=[after_it])):
        assert parse(encoding).images == EncodedFiles(files)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "image"}, "inputs[0]: expected an input named 'images', found 'image'"),
        ({"name": None}, "expected an input named 'images', found None"),
        ({"name": 1}, "inputs[0]: expected name to be a string, found 1"),
        ({"datatype": "FP16"}, "expected images of datatype UINT8, FP32 or BYTES, found 'FP16'"),
        ({"datatype": "uint8"}, "found 'uint8'"),
        ({"datatype": None}, "UINT8, FP32 or BYTES, found None"),
        ({"datatype": 5}, "expected datatype to be a string, found 5"),
        ({"shape": None}, "expected a shape of 1 to 4 whole numbers, found None"),
        ({"shape": []}, "expected a shape of 1 to 4 whole numbers, found []"),
        ({"shape": [1] * 5}, "expected a shape of 1 to 4 whole numbers, found [1, 1, 1, 1, 1]"),
        ({"shape": 3}, "expected shape to be a list, found 3"),
        ({"shape": [1, 1, 1.0]}, "expected a shape of 1 to 4 whole numbers, found [1, 1, 1.0]"),
        ({"shape": [1, 1, True]}, "expected a shape of 1 to 4 whole numbers"),
        ({"shape": [1, 1, "1"]}, "expected a shape of 1 to 4 whole numbers"),
        ({"shape": [0, 1, 1, 1]}, "expected sizes from 1 to 2^63 - 1, found shape [0, 1, 1, 1]"),
        ({"shape": [1, -1, 1]}, "expected sizes from 1 to 2^63 - 1"),
        ({"shape": [1, 10**4000, 1]}, "expected sizes from 1 to 2^63 - 1"),
        ({"shape": [1, 1]}, "[H, W, C] with 1 or 3 channels, found [1, 1]"),
        ({"shape": [2, 2, 2, 2]}, "[H, W, C] with 1 or 3 channels, found [2, 2, 2, 2]"),
        ({"shape": [2, 3, 8, 8]}, "found [2, 3, 8, 8]: its channels come first"),
        ({"shape": [1, 8, 8]}, "found [1, 8, 8]: its channels come first, or it has none"),
        ({"shape": [1, 1], "datatype": "BYTES"}, "expected BYTES images of shape [N]"),
        ({"data": None}, "either data or the parameter binary_data_size, found neither"),
        ({"parameters": {"binary_data_size": 1}}, "binary_data_size, found both"),
        ({"parameters": []}, "inputs[0]: parameters: expected an object, found []"),
        (
            {"parameters": {"shared_memory_region": "x"}, "data": None},
            "shared memory is not supported",
        ),
        (
            {"parameters": {"binary_data_size": 9}, "data": None},
            "binary_data_size says 9 bytes, found 0 after the JSON",
        ),
        ({"parameters": {"binary_data_size": -1}, "data": None}, "expected binary_data_size to be"),
        (
            {"parameters": {"binary_data_size": "9"}, "data": None},
            "to be a whole number, found '9'",
        ),
        ({"data": 7}, "expected data to be a list, found 7"),
        ({"data": []}, "expected 1 values for shape [1, 1, 1], found 0"),
    ],
)
def test_other_inputs_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=re.escape(message)):
        parse(body(inputs=[tensor(**fields)]))


@pytest.mark.parametrize("size", [0, 3, 5, 2**63 - 1])
def test_a_lying_size_of_the_raw_bytes_is_refused(size: int) -> None:
    lying = tensor(shape=[2, 2, 1], data=None, parameters={"binary_data_size": size})
    with pytest.raises(RequestError, match=f"binary_data_size says {size} bytes, found 4"):
        parse(body(bytes(4), inputs=[lying]))


def test_raw_bytes_that_no_input_claims_are_refused() -> None:
    with pytest.raises(RequestError, match=re.escape("4 bytes after the JSON, but inputs[0] has")):
        parse(body(bytes(4)))


@pytest.mark.parametrize(
    ("shape", "error", "message"),
    [
        ([11, 1, 1, 1], TooManyImagesError, "at most 10 images a request, found at least 11"),
        ([2**63 - 1] * 3 + [3], TooManyImagesError, "at most 10 images"),
        ([1, 2**63 - 1, 2**63 - 1, 3], TooManyPixelsError, "at most 1000 pixels an image, found"),
        ([40, 26, 1], TooManyPixelsError, "found 40 x 26"),
        ([4, 40, 25, 1], TooManyPixelsError, "at most 3000 pixels a request, found at least 4000"),
    ],
)
@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_limits_are_kept_before_the_data_is_looked_at(
    shape: list[int], error: type[RequestError], message: str, datatype: str
) -> None:
    with pytest.raises(error, match=message):
        parse(body(inputs=[tensor(shape=shape, datatype=datatype)]))


def test_files_are_counted_before_they_are_looked_at() -> None:
    with pytest.raises(TooManyImagesError, match="found at least 9223372036854775807"):
        parse(body(inputs=[tensor(shape=[2**63 - 1], datatype="BYTES")]))


def encoded(array: Any, datatype: str, form: str) -> tuple[bytes, str | None]:
    fields = {"shape": list(array.shape), "datatype": datatype}
    if form == "binary":
        raw = array.tobytes()
        size = {"binary_data_size": len(raw)}
        return body(raw, inputs=[tensor(**fields, data=None, parameters=size)])
    data = array.tolist() if form == "nested" else array.ravel().tolist()
    return body(inputs=[tensor(**fields, data=data)])
