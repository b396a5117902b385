from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import BadBodyError, BadInferRequestError
from serving.v2.body import MAX_JSON_VALUES, split_body

TEXT = b'{"a": [1, 2]}'


def test_without_a_header_all_of_it_is_json() -> None:
    fields, raw = split_body(TEXT, None)
    assert fields.items("a") == [1, 2]
    assert raw == b""


@pytest.mark.parametrize("raw", [b"", b"{}", b"\0\xff" * 100])
def test_the_header_says_where_the_json_ends(raw: bytes) -> None:
    fields, found = split_body(TEXT + raw, f" {len(TEXT)}")
    assert fields.items("a") == [1, 2]
    assert found == raw


@pytest.mark.parametrize(
    "length",
    [
        "",
        "x",
        "-1",
        "+13",
        "1.5",
        "1e1",
        "0x0d",
        "13,13",
        "¹³",
        "١٣",
        "1_3",
        "9" * 19,
        "9" * 10_000,
    ],
)
def test_a_header_that_is_no_whole_number_is_refused(length: str) -> None:
    with pytest.raises(
        BadBodyError, match="expected Inference-Header-Content-Length to be a whole"
    ):
        split_body(TEXT, length)


@pytest.mark.parametrize("length", [len(TEXT) + 1, 10**17])
def test_a_header_beyond_the_body_is_refused(length: int) -> None:
    with pytest.raises(BadBodyError, match=f"says {length}, but the body has 13 bytes"):
        split_body(TEXT, str(length))


def test_raw_bytes_without_json_are_refused() -> None:
    with pytest.raises(BadBodyError, match="put the request's JSON before them"):
        split_body(b"\0" * 9, "0")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b"{} {}",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 01}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'{"a": "\n"}',
        b'{"a": nan}',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b'{"a": ' + b"1" * 5000 + b"}",
        b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}",
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(BadBodyError, match=f"expected JSON in the first {len(text)} bytes"):
        split_body(text, None)


@pytest.mark.parametrize("text", [b"[]", b"1", b'"a"', b"null", b"true"])
def test_json_that_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(BadInferRequestError, match="the request: expected an object, found"):
        split_body(text, None)


@pytest.mark.parametrize("value", [b"[],", b"{},", b"1,"])
def test_a_swarm_of_values_is_refused_before_it_is_read(value: bytes) -> None:
    with pytest.raises(BadBodyError, match="at most 4000000 JSON values a request, found about"):
        split_body(b'{"a": [' + value * MAX_JSON_VALUES + b"1]}", None)


def test_the_last_of_equal_keys_counts() -> None:
    fields, _ = split_body(b'{"a": "x", "a": "y"}', None)
    assert fields.text("a") == "y"


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_values_are_those_that_pythons_own_reader_finds(value: object) -> None:
    text = json.dumps({"a": value}).encode()
    assert split_body(text, None)[0].value("a") == json.loads(text)["a"]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=20))
def test_long_fractions_round_as_pythons_do(number: object) -> None:
    text = f"{number:f}"
    found = split_body(b'{"a": %s}' % text.encode(), None)[0].value("a")
    assert math.isclose(found, float(text), rel_tol=0, abs_tol=0)
