from __future__ import annotations

import base64
import copy
import json
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from serving.errors import BadInferRequestError, RequestError
from serving.v2.elements import pack_elements
from serving.v2.images import EncodedFiles, Pixels, UnitFloats
from serving.v2.outputs import OUTPUT_NAMES, RequestedOutput
from serving.v2.request import InferRequest, parse_infer
from tests.serving.v2.bodies import LIMITS, body, parse, tensor

IMAGE_SHAPES = st.tuples(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3])
)
UINT8 = hnp.arrays(np.uint8, IMAGE_SHAPES)
FP32 = hnp.arrays(np.float32, IMAGE_SHAPES, elements=st.floats(0, 1, width=32))


def sent(array: Any, datatype: str, *, binary: bool, **options: Any) -> InferRequest:
    """What we read of what the stock client sends."""
    given_input = InferInput("images", list(array.shape), datatype)
    given_input.set_data_from_numpy(array, binary_data=binary)
    encoded, length = InferenceServerClient.generate_request_body([given_input], **options)
    return parse((encoded, None if length is None else str(length)))


@given(UINT8, st.booleans())
def test_pixels_of_the_stock_client(array: Any, binary: bool) -> None:
    images = sent(array, "UINT8", binary=binary).images
    assert isinstance(images, Pixels)
    assert np.array_equal(np.stack(images.images), array)


@given(FP32, st.booleans())
def test_floats_of_the_stock_client(array: Any, binary: bool) -> None:
    images = sent(array, "FP32", binary=binary).images
    assert isinstance(images, UnitFloats)
    assert np.array_equal(np.stack(images.images), array)


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=10))
def test_files_of_the_stock_client(files: list[bytes]) -> None:
    raw = np.array([*files, None], np.object_)[:-1]
    texts = np.array([*map(base64.b64encode, files), None], np.object_)[:-1]
    assert sent(raw, "BYTES", binary=True).images == EncodedFiles(files)
    assert sent(texts, "BYTES", binary=False).images == EncodedFiles(files)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("binary", [False, True])
def test_what_is_not_finite_is_refused_from_the_stock_client(value: float, binary: bool) -> None:
    # In JSON, too: it writes NaN and Infinity there.
    array = np.full((1, 2, 2, 3), value, np.float32)
    with pytest.raises(RequestError, match="expected FP32 data from 0 to 1, found"):
        sent(array, "FP32", binary=binary)


def test_wishes_of_the_stock_client() -> None:
    request = sent(
        np.zeros((1, 1, 1), np.uint8),
        "UINT8",
        binary=True,
        outputs=[
            InferRequestedOutput("label", binary_data=False),
            InferRequestedOutput("scores"),
            InferRequestedOutput("weak_scores", class_count=3),
        ],
        request_id="number 7 ü",
        timeout=1500,
        priority=2,
        sequence_id=5,
        parameters={"patches": "cat,dog", "unknown": 3.5},
    )
    assert request.id == "number 7 ü"
    assert request.timeout_us == 1500
    assert request.patches == "cat,dog"
    assert request.outputs == (
        RequestedOutput("label", binary=False),
        RequestedOutput("scores", binary=True),
        RequestedOutput("weak_scores", binary=True, top_classes=3),
    )


def test_what_is_not_said_is_none_or_all() -> None:
    request = sent(np.zeros((1, 1, 1), np.uint8), "UINT8", binary=False)
    assert (request.id, request.timeout_us, request.patches) == (None, None, None)
    # The stock client asks for binary answers where no output is named.
    assert request.outputs == tuple(RequestedOutput(name, binary=True) for name in OUTPUT_NAMES)


def test_what_is_unknown_is_left_alone() -> None:
    more = {"x": [float("inf")], "headers": {"a": 1}, "sequence_id": {}}
    request = parse(
        body(
            inputs=[tensor(parameters={"content_type": "np"}, extra=1)],
            model_name="x",
            parameters=more,
        )
    )
    assert request == parse(body()) or isinstance(request.images, Pixels)
    assert (request.id, request.timeout_us, request.patches) == (None, None, None)


def test_no_time_at_all_is_no_limit() -> None:
    assert parse(body(parameters={"timeout": 0})).timeout_us is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"inputs": []}, "expected exactly one of inputs, named 'images', found 0"),
        (
            {"inputs": [tensor(), tensor()]},
            "expected exactly one of inputs, named 'images', found 2",
        ),
        ({"inputs": {}}, "the request: expected inputs to be a list, found {}"),
        ({"inputs": [1]}, "inputs[0]: expected an object, found 1"),
        ({"id": 7}, "the request: expected id to be a string, found 7"),
        ({"parameters": "x"}, "the request: parameters: expected an object, found 'x'"),
        ({"parameters": {"patches": ["cat"]}}, "expected patches to be a string, found ['cat']"),
        ({"parameters": {"timeout": -1}}, "expected timeout to be from 0 to 2^63 - 1, found -1"),
        ({"parameters": {"timeout": 1.5}}, "expected timeout to be a whole number, found 1.5"),
        ({"parameters": {"timeout": True}}, "expected timeout to be a whole number, found True"),
        ({"parameters": {"timeout": "9"}}, "expected timeout to be a whole number, found '9'"),
    ],
)
def test_other_requests_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInferRequestError, match=re.escape(message)):
        parse(body(**fields))


def test_a_request_without_inputs_is_refused() -> None:
    with pytest.raises(BadInferRequestError, match="named 'images', found none"):
        parse((b"{}", None))


def valid_bodies() -> list[tuple[bytes, str | None]]:
    array = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    files = pack_elements([b"\x89PNG", b"x" * 9])
    wishes: dict[str, Any] = {
        "id": "7",
        "parameters": {"patches": "none", "timeout": 5, "binary_data_output": True},
        "outputs": [
            {"name": "scores", "parameters": {"classification": 1}},
            {"name": "label", "parameters": {"binary_data": False}},
        ],
    }

    def raw(data: bytes, **fields: Any) -> tuple[bytes, str | None]:
        size = {"binary_data_size": len(data)}
        return body(data, inputs=[tensor(**fields, data=None, parameters=size)], **wishes)

    floats = (array / 255).astype(np.float32)
    return [
        body(inputs=[tensor(shape=[2, 2, 2, 3], data=array.tolist())], **wishes),
        body(inputs=[tensor(shape=[2, 2, 2, 3], datatype="FP32", data=floats.ravel().tolist())]),
        body(inputs=[tensor(shape=[2], datatype="BYTES", data=["AAAA", ""])], **wishes),
        raw(array.tobytes(), shape=[2, 2, 2, 3]),
        raw(floats.tobytes(), shape=[2, 2, 2, 3], datatype="FP32"),
        raw(files, shape=[2], datatype="BYTES"),
    ]


VALID = valid_bodies()
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0, 2**63, 10**30, 1e308, math.inf, math.nan, "", "x", "images", [], [[]], {}]
)


@pytest.mark.parametrize("encoded", VALID)
def test_what_the_mutations_begin_with_is_right(encoded: tuple[bytes, str | None]) -> None:
    assert isinstance(parse(encoded), InferRequest)


def answered(encoded: tuple[bytes, str | None]) -> None:
    """Whatever was sent is read, or refused with a message that can be sent."""
    refusal = "expected"
    try:
        parse_infer(encoded[0], header_length=encoded[1], limits=LIMITS)
    except RequestError as error:
        refusal = str(error)
    assert re.search("expected|found|says|at most|is 0|not supported", refusal), refusal
    assert len(refusal.encode()) < 600


@settings(max_examples=600)
@given(st.sampled_from(VALID), st.data())
def test_broken_bytes_are_read_or_refused(
    encoded: tuple[bytes, str | None], data: st.DataObject
) -> None:
    text = bytearray(encoded[0])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(text) - 1)))
        length = data.draw(st.integers(0, 4))
        text[at : at + length] = data.draw(
            st.binary(max_size=4) | st.text('[]{}":,0159.eE-+\\ tfn', max_size=4).map(str.encode)
        )
    end = data.draw(st.none() | st.integers(0, len(text)))
    length_header = data.draw(
        st.just(encoded[1]) | st.none() | st.integers(-5, 500).map(str) | st.text(max_size=5)
    )
    answered((bytes(text[:end]), length_header))


@settings(max_examples=600)
@given(st.sampled_from(VALID), st.data())
def test_odd_values_anywhere_are_read_or_refused(
    encoded: tuple[bytes, str | None], data: st.DataObject
) -> None:
    whole, length = encoded
    end = len(whole) if length is None else int(length)
    head = json.loads(whole[:end])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(head)))
        replace(head, place, copy.deepcopy(data.draw(ODD)))
    text = json.dumps(head).encode()
    answered((text + whole[end:], None if length is None else str(len(text))))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = [path]
    for key, one in inner:
        if isinstance(one, dict | list):
            found += places(one, (*path, key))
        else:
            found.append((*path, key))
    return [one for one in found if one] or [("inputs",)]


def replace(head: Any, place: tuple[Any, ...], value: Any) -> None:
    for key in place[:-1]:
        head = head[key]
    head[place[-1]] = value
