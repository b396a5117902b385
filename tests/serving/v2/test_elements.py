from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from serving.errors import BadTensorError
from serving.v2.elements import decode_base64, pack_elements, unpack_elements

ELEMENTS = st.lists(st.binary(max_size=300), min_size=1)


@given(ELEMENTS)
def test_elements_are_packed_as_the_stock_client_packs_them(elements: list[bytes]) -> None:
    packed = pack_elements(elements)
    assert packed == serialize_byte_tensor(np.array(elements, np.object_)).item()
    assert deserialize_bytes_tensor(packed).tolist() == elements
    assert unpack_elements(packed, len(elements)) == elements


@given(ELEMENTS, st.integers(1, 10))
def test_more_or_fewer_elements_than_promised_are_refused(elements: list[bytes], by: int) -> None:
    packed, count = pack_elements(elements), len(elements)
    with pytest.raises(BadTensorError, match=f"expected {count + by} BYTES elements, found"):
        unpack_elements(packed, count + by)
    with pytest.raises(BadTensorError, match="more bytes after them"):
        unpack_elements(packed, max(0, count - by))


@given(ELEMENTS, st.data())
def test_bytes_that_end_early_are_refused(elements: list[bytes], data: st.DataObject) -> None:
    packed = pack_elements(elements)
    end = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(BadTensorError, match="found"):
        unpack_elements(packed[:end], len(elements))


def test_an_element_that_ends_early_is_named() -> None:
    packed = pack_elements([b"abcd", b"efgh"])
    with pytest.raises(BadTensorError, match="element 2 of 2 says that it has 4 bytes, found 3"):
        unpack_elements(packed[:-1], 2)


def test_a_length_of_gigabytes_is_refused() -> None:
    with pytest.raises(BadTensorError, match="says that it has 4294967295 bytes, found 2"):
        unpack_elements(b"\xff\xff\xff\xff ab"[:6], 1)


@given(st.lists(st.binary()))
def test_base64_is_decoded(elements: list[bytes]) -> None:
    assert decode_base64([base64.b64encode(one).decode() for one in elements]) == elements


@pytest.mark.parametrize(
    "value", ["a", "ab==\n", "ab=", "=abc", "ab==cd==", "a-_b", "ab cd", "äbcd", "\ud800", "data:,"]
)
def test_other_base64_is_refused(value: str) -> None:
    with pytest.raises(BadTensorError, match=r"expected BYTES data to be base64 .* as element 2: "):
        decode_base64(["abcd", value])


@pytest.mark.parametrize("value", [1, None, True, [], {}])
def test_what_is_no_string_is_refused(value: object) -> None:
    with pytest.raises(BadTensorError, match="expected BYTES data to be base64 strings, found"):
        decode_base64([value])
