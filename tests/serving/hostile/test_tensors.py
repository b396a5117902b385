"""Hostile requests of the Open Inference Protocol, against the real service."""

from __future__ import annotations

import json
import struct
from typing import Any

import httpx
import numpy as np
import pytest

from serving.v2.body import HEADER_LENGTH

INFER = "/v2/models/served/infer"
GOOD: dict[str, Any] = {"name": "images", "datatype": "UINT8", "shape": [1, 1, 1], "data": [7]}
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    1.5,
    10**400,
    "x",
    "",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    [1, "x"],
    "\ud800",
)


def refusal(response: httpx.Response) -> str:
    """The message of an answer that is an error of the client's, in the protocol's words."""
    assert 400 <= response.status_code < 500, response.text
    [(key, message)] = response.json().items()
    assert key == "error"
    assert message
    return str(message)


def ask(connection: httpx.Client, body: Any) -> httpx.Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return connection.post(INFER, content=raw)


def ask_binary(
    connection: httpx.Client,
    tensor: dict[str, Any],
    raw: bytes,
    *,
    said: int | None = None,
    header: str | None = None,
) -> httpx.Response:
    """With raw bytes, of which ``said`` are said to be the tensor's, and a header of any length."""
    size = len(raw) if said is None else said
    given = {**tensor, "parameters": {"binary_data_size": size}}
    given.pop("data", None)
    text = json.dumps({"inputs": [given]}).encode()
    length = str(len(text)) if header is None else header
    return connection.post(INFER, content=text + raw, headers={HEADER_LENGTH: length})


def test_what_the_others_begin_with_is_right(connection: httpx.Client) -> None:
    assert ask(connection, {"inputs": [GOOD]}).status_code == 200
    assert ask_binary(connection, GOOD, b"\x07").status_code == 200


@pytest.mark.parametrize(
    ("shape", "datatype", "data"),
    [
        ([1, 1, 1], "UINT8", []),
        ([1, 1, 1], "UINT8", [1, 2]),
        ([2, 1, 1], "UINT8", [[[1]], [[2, 3]]]),
        ([1, 1, 2], "UINT8", [1, 2]),
        ([1, 1], "UINT8", [1]),
        ([1, 1, 1, 1, 1], "UINT8", [1]),
        ([0, 1, 1], "UINT8", []),
        ([-1, 1, 1], "UINT8", [1]),
        ([2**31, 2**31, 1], "UINT8", [1]),
        ([2**62, 2**62, 2**62, 1], "UINT8", [1]),
        ([10**30, 1, 1], "UINT8", [1]),
        ([5000, 1, 1, 1], "UINT8", [1] * 5000),
        ([1, 1, 1], "UINT8", [256]),
        ([1, 1, 1], "UINT8", [-1]),
        ([1, 1, 1], "UINT8", [1.5]),
        ([1, 1, 1], "FP32", [255.0]),
        ([1, 1, 1], "FP64", [0.5]),
        ([1, 1, 1], "INT64", [1]),
        ([1], "BYTES", ["no base64!"]),
        ([1], "BYTES", [""]),
        ([2], "BYTES", ["AAAA"]),
        ([1, 1], "BYTES", ["AAAA"]),
    ],
)
def test_tensors_of_a_wrong_size_or_value(
    connection: httpx.Client, shape: list[int], datatype: str, data: list[Any]
) -> None:
    tensor = {"name": "images", "shape": shape, "datatype": datatype, "data": data}
    refusal(ask(connection, {"inputs": [tensor]}))


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e39"])
def test_numbers_that_are_not_finite(connection: httpx.Client, word: str) -> None:
    for datatype in ("FP32", "UINT8"):
        text = json.dumps({"inputs": [{**GOOD, "datatype": datatype, "data": ["?"]}]})
        refusal(ask(connection, text.replace('"?"', word).encode()))
    value = float(word.replace("1e39", "inf"))
    raw = np.array([value], "<f4").tobytes()
    refusal(ask_binary(connection, {**GOOD, "datatype": "FP32"}, raw))


@pytest.mark.parametrize("field", ["inputs", "outputs", "id", "parameters"])
def test_fields_of_a_wrong_type(connection: httpx.Client, field: str) -> None:
    for value in ODD:
        response = ask(connection, {"inputs": [GOOD], field: value})
        assert response.status_code == 200 or refusal(response)


@pytest.mark.parametrize("field", ["name", "datatype", "shape", "data", "parameters"])
def test_fields_of_the_tensor_of_a_wrong_type(connection: httpx.Client, field: str) -> None:
    for value in ODD:
        response = ask(connection, {"inputs": [{**GOOD, field: value}]})
        assert response.status_code == 200 or refusal(response)


@pytest.mark.parametrize("name", ["patches", "timeout", "binary_data_output", "binary_data"])
def test_parameters_of_a_wrong_type(connection: httpx.Client, name: str) -> None:
    for value in ODD:
        for body in (
            {"inputs": [GOOD], "parameters": {name: value}},
            {"inputs": [GOOD], "outputs": [{"name": "scores", "parameters": {name: value}}]},
        ):
            response = ask(connection, body)
            assert response.status_code == 200 or refusal(response)


NO_REQUESTS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"1",
    b'"a"',
    b"\xff\xfe",
    b"[" * 10**6,
    b'{"a":' * 10**5,
    b'{"inputs": [' + b"1," * 5 * 10**6 + b"1]}",
    b"\0" * 100,
    b'{"inputs": [{}, {}]}',
]


@pytest.mark.parametrize("body", NO_REQUESTS, ids=range(len(NO_REQUESTS)))
def test_bodies_that_are_no_request(connection: httpx.Client, body: bytes) -> None:
    refusal(ask(connection, body))


@pytest.mark.parametrize("said", [0, 2, 10**9, 2**63, -1, 10**30])
def test_a_binary_size_that_lies(connection: httpx.Client, said: int) -> None:
    refusal(ask_binary(connection, GOOD, b"\x07", said=said))


@pytest.mark.parametrize("header", ["0", "1", "-1", "10", "99999", "1e3", "0x20", "9" * 500, "x"])
def test_a_header_length_that_lies(connection: httpx.Client, header: str) -> None:
    refusal(ask_binary(connection, GOOD, b"\x07", header=header))


@pytest.mark.parametrize("length", [0, 1, 5, 2**31, 2**32 - 1])
def test_an_element_s_length_that_lies(connection: httpx.Client, length: int) -> None:
    raw = struct.pack("<I", length) + b"abc"
    refusal(ask_binary(connection, {**GOOD, "datatype": "BYTES", "shape": [1]}, raw))
