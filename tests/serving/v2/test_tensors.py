from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.errors import BadTensorError
from serving.v2.tensors import (
    flatten,
    pixels_from_bytes,
    pixels_from_json,
    unit_floats_from_bytes,
    unit_floats_from_json,
)

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, max_side=4)


@given(hnp.arrays(np.uint8, SHAPES))
def test_flat_and_nested_lists_are_read_row_by_row(array: Any) -> None:
    flat = array.ravel().tolist()
    assert flatten(array.tolist(), array.shape) == flat
    assert flatten(flat, array.shape) == flat


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "expected data to be a list, found None"),
        ("abc", "expected data to be a list, found 'abc'"),
        ({}, "expected data to be a list, found {}"),
        ([], "expected 6 values for shape [2, 3], found 0"),
        ([1, 2, 3], "expected 6 values for shape [2, 3], found 3"),
        ([1] * 7, "expected 6 values for shape [2, 3], found 7"),
        ([[1, 2, 3]], "expected 2 values along axis 0 of shape [2, 3], found 1"),
        ([[1, 2, 3], [4, 5]], "expected 3 values along axis 1 of shape [2, 3], found 2"),
        ([[1, 2], [3, 4], [5, 6]], "expected 2 values along axis 0 of shape [2, 3], found 3"),
        ([[1, 2, 3], 4], "expected lists nested 2 deep for shape [2, 3], found lists and whole"),
        ([[], []], "expected 3 values along axis 1 of shape [2, 3], found 0"),
    ],
)
def test_data_of_another_form_is_refused(data: Any, message: str) -> None:
    with pytest.raises(BadTensorError, match=re.escape(message)):
        flatten(data, (2, 3))


def test_lists_nested_too_deep_are_no_values() -> None:
    values = flatten([[[1], [2]]], (1, 2))
    with pytest.raises(BadTensorError, match="found lists"):
        pixels_from_json(values)


@given(hnp.arrays(np.uint8, hnp.array_shapes(max_dims=1)))
def test_pixels_come_out_as_they_went_in(array: Any) -> None:
    for found in (
        pixels_from_json(array.tolist()),
        pixels_from_bytes(array.tobytes(), array.size),
    ):
        assert found.dtype == np.uint8
        assert np.array_equal(found, array)


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=1), elements=st.floats(0, 1, width=32)))
def test_floats_come_out_as_they_went_in(array: Any) -> None:
    for found in (
        unit_floats_from_json(array.tolist()),
        unit_floats_from_bytes(array.astype("<f4").tobytes(), array.size),
    ):
        assert found.dtype == np.float32
        assert found.flags.aligned
        assert np.array_equal(found, array)


def test_whole_numbers_are_floats_too() -> None:
    assert unit_floats_from_json([0, 1, 0.5]).tolist() == [0, 1, 0.5]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 256], "expected UINT8 data from 0 to 255, found values from 0 to 256"),
        ([-1, 3], "found values from -1 to 3"),
        ([10**4000], "expected UINT8 data from 0 to 255, found values from 1000"),
        ([1.0], "to be whole numbers from 0 to 255, found numbers with a fraction"),
        ([True], "found booleans"),
        ([1, "2"], "found strings"),
        ([None, {}], "found null and objects"),
    ],
)
def test_other_values_are_no_pixels(values: list[Any], message: str) -> None:
    with pytest.raises(BadTensorError, match=message):
        pixels_from_json(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 255], "from 0 to 1, found values from 0.5 to 255; send pixels of 0 to 255 as UINT8"),
        ([-0.1, 1.1], "found values from -0.1 to 1.1"),
        ([1 + 2e-6], "found values from 1.000002 to 1.000002"),
        ([1e300], r"found values from 1e\+300"),
        ([float("inf"), float("nan"), 0.5], "found 1 NaN and 1 infinite values"),
        ([float("-inf")], "found 0 NaN and 1 infinite values"),
        ([10**400], "found whole numbers of more than 300 digits"),
        ([0.5, False], "found booleans"),
        (["0.5"], "found strings"),
        ([None], "found null"),
    ],
)
def test_other_values_are_no_floats(values: list[Any], message: str) -> None:
    with pytest.raises(BadTensorError, match=message):
        unit_floats_from_json(values)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e-3, 1.001, 255, 3e38])
def test_other_bytes_are_no_floats(value: float) -> None:
    with pytest.raises(BadTensorError, match="expected FP32 data from 0 to 1, found"):
        unit_floats_from_bytes(np.array([0.5, value], "<f4").tobytes(), 2)


def test_what_rounding_puts_beyond_the_scale_is_brought_back() -> None:
    beyond = np.array([-5e-7, 1 + 5e-7, 0.25], np.float32)
    for found in (
        unit_floats_from_json(beyond.tolist()),
        unit_floats_from_bytes(beyond.astype("<f4").tobytes(), 3),
    ):
        assert found.tolist() == [0, 1, 0.25]
        assert found.dtype == np.float32


@pytest.mark.parametrize("size", [0, 11, 13, 24])
def test_another_number_of_bytes_is_refused(size: int) -> None:
    with pytest.raises(BadTensorError, match=f"expected 12 bytes for 12 UINT8 .*, found {size}"):
        pixels_from_bytes(bytes(size), 12)
    with pytest.raises(BadTensorError, match=f"expected 12 bytes for 3 FP32 .*, found {size}"):
        unit_floats_from_bytes(bytes(size), 3)
