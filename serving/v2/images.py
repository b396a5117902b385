"""The one input of a request, `images`, in any of the three forms that it is taken in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.decoding.limits import ImageCount, ImageLimits
from serving.errors import BadInferRequestError, BadTensorError
from serving.v2.body import HEADER_LENGTH
from serving.v2.elements import decode_base64, unpack_elements
from serving.v2.fields import Fields, shown
from serving.v2.tensors import (
    flatten,
    pixels_from_bytes,
    pixels_from_json,
    unit_floats_from_bytes,
    unit_floats_from_json,
)

INPUT_NAME = "images"

_LARGEST_SIZE = 2**63 - 1
_SHAPES = "[N, H, W, C] or [H, W, C] with 1 or 3 channels"
_SIZE = "binary_data_size"


@dataclass(frozen=True)
class Pixels:
    """A UINT8 input.

    Attributes:
        images: uint8 (H, W, C) each, 0 to 255, C is 1 or 3; read-only, all of one shape.
    """

    images: list[NDArray[np.uint8]]


@dataclass(frozen=True)
class UnitFloats:
    """An FP32 input.

    Attributes:
        images: float32 (H, W, C) each, 0 to 1 (pixels divided by 255), C is 1 or 3; perhaps
            read-only, all of one shape.
    """

    images: list[NDArray[np.float32]]


@dataclass(frozen=True)
class EncodedFiles:
    """A BYTES input; nothing of it is decoded yet, nor are its pixels counted.

    Attributes:
        files: the bytes of an image file each, of any format or of none.
    """

    files: list[bytes]


Images = Pixels | UnitFloats | EncodedFiles


def read_images(tensor: Fields, raw: bytes, *, limits: ImageLimits) -> Images:
    """The images of the input tensor.

    UINT8 and FP32 come in shape [N, H, W, C], or [H, W, C] for one image; BYTES in [N]. Data is
    in the JSON, flat or nested, row-major, or in the raw bytes, little-endian. BYTES in JSON are
    base64, as MLServer has it: an image file is no UTF-8, which Triton and KServe would take.

    Args:
        tensor: the JSON that describes it.
        raw: what comes after the JSON of the body.
        limits: compared with the shape before memory is taken.

    Raises:
        BadInferRequestError: if a field is missing or of another type, or it is not said once
            where the data is.
        BadTensorError: if the datatype, the shape or a value is none of images, or there is more
            or less data than the shape says.
        TooManyImagesError: if there are too many.
        TooManyPixelsError: if one, or all together, have too many pixels.
    """
    name = tensor.text("name")
    if name != INPUT_NAME:
        raise tensor.error(f"expected an input named '{INPUT_NAME}', found {shown(name)}")
    shape = _shape(tensor)
    datatype = tensor.text("datatype")
    data = _data(tensor, raw)
    if datatype == "BYTES":
        return EncodedFiles(_files(shape, data, limits))
    if datatype == "UINT8":
        full = _image_shape(shape, limits)
        count = math.prod(full)
        pixels = (
            pixels_from_bytes(data, count)
            if isinstance(data, bytes)
            else pixels_from_json(flatten(data, shape))
        )
        return Pixels(list(pixels.reshape(full)))
    if datatype == "FP32":
        full = _image_shape(shape, limits)
        count = math.prod(full)
        floats = (
            unit_floats_from_bytes(data, count)
            if isinstance(data, bytes)
            else unit_floats_from_json(flatten(data, shape))
        )
        return UnitFloats(list(floats.reshape(full)))
    raise BadTensorError(
        f"expected {INPUT_NAME} of datatype UINT8, FP32 or BYTES, found {shown(datatype)}"
    )


def _files(shape: tuple[int, ...], data: Any, limits: ImageLimits) -> list[bytes]:
    if len(shape) != 1:
        raise BadTensorError(
            f"expected BYTES {INPUT_NAME} of shape [N], an image file each, found {list(shape)}"
        )
    ImageCount(limits).add(shape[0], 0, 0)  # their sizes are in the files
    if isinstance(data, bytes):
        return unpack_elements(data, shape[0])
    return decode_base64(flatten(data, shape))


def _shape(tensor: Fields) -> tuple[int, ...]:
    sizes = tensor.items("shape")
    if not sizes or len(sizes) > 4 or any(type(size) is not int for size in sizes):
        raise BadTensorError(
            f"expected a shape of 1 to 4 whole numbers, found {shown(tensor.value('shape'))}"
        )
    if not all(1 <= size <= _LARGEST_SIZE for size in sizes):
        raise BadTensorError(f"expected sizes from 1 to 2^63 - 1, found shape {shown(sizes)}")
    return tuple(sizes)


def _image_shape(shape: tuple[int, ...], limits: ImageLimits) -> tuple[int, int, int, int]:
    match shape:
        case (height, width, (1 | 3) as channels):
            full = (1, height, width, channels)
        case (images, height, width, (1 | 3) as channels):
            full = (images, height, width, channels)
        case ((1 | 3), _, _) | (_, (1 | 3), _, _):
            raise BadTensorError(
                f"expected shape {_SHAPES}, found {list(shape)}: its channels come first, or it "
                "has none; move them last, as numpy.moveaxis(images, -3, -1) does"
            )
        case _:
            raise BadTensorError(f"expected shape {_SHAPES}, found {list(shape)}")
    ImageCount(limits).add(*full[:3])
    return full


def _data(tensor: Fields, raw: bytes) -> Any:
    """The raw bytes of the tensor, or what its JSON has as data."""
    parameters = tensor.fields("parameters")
    if parameters.has("shared_memory_region"):
        raise tensor.error("expected its data in the request; shared memory is not supported")
    size = parameters.whole_number(_SIZE)
    if (size is None) == (not tensor.has("data")):
        found = "neither" if size is None else "both"
        raise tensor.error(f"expected either data or the parameter {_SIZE}, found {found}")
    if size is None:
        if raw:
            raise BadInferRequestError(
                f"found {len(raw)} bytes after the JSON, but {tensor.place} has no {_SIZE}"
            )
        return tensor.value("data")
    if size != len(raw):
        raise tensor.error(
            f"{_SIZE} says {size} bytes, found {len(raw)} after the JSON; the header "
            f"{HEADER_LENGTH} says where the JSON ends"
        )
    return raw
