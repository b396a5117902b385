"""The numbers of an input tensor to images, from JSON or raw bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import BadTensorError
from serving.v2.fields import shown

TOLERANCE = 1e-6
"""How far beyond 0 and 1 a value may lie by rounding; it is set to 0 or 1."""

_JSON_NAMES = {
    bool: "booleans",
    dict: "objects",
    float: "numbers with a fraction",
    int: "whole numbers",
    list: "lists",
    str: "strings",
    type(None): "null",
}


def flatten(data: Any, shape: Sequence[int]) -> list[Any]:
    """The values of JSON data in row-major order, as many as the shape says.

    Args:
        data: a flat list, or lists nested as the shape says.
        shape: at least one size.

    Raises:
        BadTensorError: if it is no list, nested in another way, or of another length.
    """
    if not isinstance(data, list):
        raise BadTensorError(f"expected data to be a list, found {shown(data)}")
    if not (data and isinstance(data[0], list)):
        expected = math.prod(shape)
        if len(data) != expected:
            raise BadTensorError(
                f"expected {expected} values for shape {list(shape)}, found {len(data)}"
            )
        return data
    values = [data]
    for axis, size in enumerate(shape):
        kinds = set(map(type, values))
        if kinds != {list}:
            raise BadTensorError(
                f"expected lists nested {len(shape)} deep for shape {list(shape)}, found "
                f"{_named(kinds)} at depth {axis}"
            )
        sizes = set(map(len, values))
        if sizes != {size}:
            other = min(sizes - {size})
            raise BadTensorError(
                f"expected {size} values along axis {axis} of shape {list(shape)}, found {other}"
            )
        values = list(chain.from_iterable(values))
    return values


def pixels_from_json(values: list[Any]) -> NDArray[np.uint8]:
    """Whole numbers from 0 to 255, flat.

    Raises:
        BadTensorError: if a value is something else.
    """
    _require_kinds(values, {int}, "UINT8 data to be whole numbers from 0 to 255")
    try:
        return np.frombuffer(bytes(values), np.uint8)
    except ValueError as error:
        raise BadTensorError(
            f"expected UINT8 data from 0 to 255, found values from {shown(min(values))} to "
            f"{shown(max(values))}"
        ) from error


def unit_floats_from_json(values: list[Any]) -> NDArray[np.float32]:
    """Numbers from 0 to 1, flat.

    Raises:
        BadTensorError: if a value is something else.
    """
    _require_kinds(values, {int, float}, "FP32 data to be numbers from 0 to 1")
    try:
        exact = np.array(values, np.float64)
    except OverflowError as error:
        raise BadTensorError(
            "expected FP32 data from 0 to 1, found whole numbers of more than 300 digits"
        ) from error
    return _within_unit(exact).astype(np.float32)


def pixels_from_bytes(raw: bytes, count: int) -> NDArray[np.uint8]:
    """One byte a value, flat; read-only and not copied.

    Raises:
        BadTensorError: if there are not as many bytes as values.
    """
    _require_bytes(raw, count, 1, "UINT8")
    return np.frombuffer(raw, np.uint8)


def unit_floats_from_bytes(raw: bytes, count: int) -> NDArray[np.float32]:
    """Four bytes a value, little-endian, from 0 to 1, flat; read-only, copied only if need be.

    Raises:
        BadTensorError: if there are not four times as many bytes as values, or one is beyond
            0 and 1, NaN or infinite.
    """
    _require_bytes(raw, count, 4, "FP32")
    return _within_unit(np.frombuffer(raw, "<f4")).astype(np.float32, copy=False)


def _within_unit(values: NDArray[Any]) -> NDArray[Any]:
    lowest, highest = float(values.min()), float(values.max())
    if lowest >= 0 and highest <= 1:
        return values
    if lowest >= -TOLERANCE and highest <= 1 + TOLERANCE:
        clipped: NDArray[Any] = np.clip(values, 0, 1)
        return clipped
    finite = np.isfinite(values)
    broken = values.size - int(finite.sum())
    if broken:
        nan = int(np.isnan(values).sum())
        raise BadTensorError(
            f"expected FP32 data from 0 to 1, found {nan} NaN and {broken - nan} infinite values"
        )
    raise BadTensorError(
        f"expected FP32 data from 0 to 1, found values from {lowest:.7g} to {highest:.7g}; send "
        "pixels of 0 to 255 as UINT8, or divide them by 255; undo any other normalisation"
    )


def _require_kinds(values: list[Any], kinds: set[type], expected: str) -> None:
    others = set(map(type, values)) - kinds  # a bool is an int to numpy, too
    if others:
        raise BadTensorError(f"expected {expected}, found {_named(others)}")


def _require_bytes(raw: bytes, count: int, item_bytes: int, datatype: str) -> None:
    if len(raw) != count * item_bytes:
        raise BadTensorError(
            f"expected {count * item_bytes} bytes for {count} {datatype} values, found {len(raw)}"
        )


def _named(kinds: set[type]) -> str:
    return " and ".join(sorted(_JSON_NAMES[kind] for kind in kinds))
