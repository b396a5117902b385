from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.http import InferenceServerClient, InferResult

from serving.v2.answer import InferAnswer, encode_infer
from serving.v2.outputs import OUTPUT_NAMES, RequestedOutput
from serving.v2.request import InferRequest
from tests.serving.v2.bodies import body, parse

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


def asking(*outputs: RequestedOutput, request_id: str | None = None) -> InferRequest:
    return dataclasses.replace(parse(body()), outputs=outputs, id=request_id)


def made_answer(**fields: Any) -> InferAnswer:
    right = {
        "model_name": "digits",
        "model_version": "3",
        "class_names": ("cat", "dog, small", "ü"),
        "scores": np.array([[0.25, 0.5, 0.5], [0.9, 0.1, -2.5]], np.float32),
        "weak_scores": np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], np.float32),
        "labels": ["dog, small", "cat"],
        "changed_by": [(), ("dog, small", "cat")],
    }
    return InferAnswer(**{**right, **fields})


def received(request: InferRequest, answer: InferAnswer) -> InferResult:
    """What the stock client reads of our answer."""
    encoded, headers = encode_infer(request, answer)
    length = headers.get("Inference-Header-Content-Length")
    binary = any(output.binary for output in request.outputs)
    assert (length is not None) == binary
    assert headers["Content-Type"] == "application/" + ("octet-stream" if binary else "json")
    return InferenceServerClient.parse_response_body(
        encoded, header_length=None if length is None else int(length)
    )


def texts(array: Any) -> Any:
    """Strings of a BYTES output: the stock client has bytes where it was binary, else str."""
    return np.vectorize(lambda one: one.decode() if isinstance(one, bytes) else one)(array).tolist()


@st.composite
def answers(draw: st.DrawFn) -> InferAnswer:
    names = draw(st.lists(NAMES, min_size=1, max_size=4))
    count = draw(st.integers(1, 3))
    shape = (count, len(names))
    one = st.sampled_from(names)
    return made_answer(
        class_names=names,
        scores=draw(hnp.arrays(np.float32, shape, elements=FINITE)),
        weak_scores=draw(hnp.arrays(np.float32, shape, elements=FINITE)),
        labels=draw(st.lists(one, min_size=count, max_size=count)),
        changed_by=draw(
            st.lists(st.lists(one, max_size=2).map(tuple), min_size=count, max_size=count)
        ),
    )


@given(answers(), st.permutations(OUTPUT_NAMES), st.lists(st.booleans(), min_size=4, max_size=4))
def test_the_stock_client_reads_what_was_answered(
    answer: InferAnswer, names: list[str], binary: list[bool]
) -> None:
    request = asking(*(RequestedOutput(*one) for one in zip(names, binary, strict=True)))
    result = received(request, answer)
    for name, expected in (("scores", answer.scores), ("weak_scores", answer.weak_scores)):
        assert result.as_numpy(name).dtype == np.float32
        assert np.array_equal(result.as_numpy(name), expected)
    assert texts(result.as_numpy("label")) == list(answer.labels)
    padded = [[*row, "", ""][:2] for row in answer.changed_by]
    assert texts(result.as_numpy("changed_by")) == padded
    head = result.get_response()
    assert [one["name"] for one in head["outputs"]] == list(names)
    assert [one["datatype"] for one in head["outputs"]] == [
        "FP32" if "scores" in name else "BYTES" for name in names
    ]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_id_is_given_back(request_id: str) -> None:
    request = parse(body(id=request_id))
    head = received(request, made_answer()).get_response()
    assert head["id"] == request_id
    assert (head["model_name"], head["model_version"]) == ("digits", "3")


def test_there_is_no_id_where_none_was_sent() -> None:
    encoded, _ = encode_infer(parse(body()), made_answer())
    assert "id" not in json.loads(encoded)


def test_only_what_was_asked_for_is_answered() -> None:
    result = received(asking(RequestedOutput("label", binary=False)), made_answer())
    assert [one["name"] for one in result.get_response()["outputs"]] == ["label"]
    assert result.as_numpy("scores") is None


def test_data_in_json_is_flat() -> None:
    encoded, _ = encode_infer(asking(RequestedOutput("changed_by", binary=False)), made_answer())
    [output] = json.loads(encoded)["outputs"]
    assert output == {
        "name": "changed_by",
        "shape": [2, 2],
        "datatype": "BYTES",
        "data": ["", "", "dog, small", "cat"],
    }


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("count", [2, 3, 99])
def test_the_highest_scores_are_named(binary: bool, count: int) -> None:
    result = received(asking(RequestedOutput("scores", binary, count)), made_answer())
    expected = [
        ["0.500000:1:dog, small", "0.500000:2:ü", "0.250000:0:cat"],
        ["0.900000:0:cat", "0.100000:1:dog, small", "-2.500000:2:ü"],
    ]
    assert texts(result.as_numpy("scores")) == [row[:count] for row in expected]
    assert result.get_output("scores")["datatype"] == "BYTES"


def test_the_first_of_equal_scores_is_the_highest() -> None:
    names = [f"class {index}" for index in range(100)]
    scores = np.tile(np.array([0.5, 0.25], np.float32), (2, 50))
    answer = made_answer(class_names=names, scores=scores, weak_scores=scores)
    result = received(asking(RequestedOutput("scores", binary=True, top_classes=100)), answer)
    expected = [f"0.500000:{i}:class {i}" for i in range(0, 100, 2)]
    expected += [f"0.250000:{i}:class {i}" for i in range(1, 100, 2)]
    assert texts(result.as_numpy("scores")) == [expected, expected]


def test_scores_in_any_order_of_memory_are_answered_row_by_row() -> None:
    scores = np.asfortranarray(made_answer().scores)
    for binary in (False, True):
        result = received(asking(RequestedOutput("scores", binary)), made_answer(scores=scores))
        assert np.array_equal(result.as_numpy("scores"), scores)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": ["cat"]}, r"expected scores of shape \(1, 3\)"),
        ({"class_names": ("cat", "dog")}, r"expected scores of shape \(2, 2\)"),
        ({"weak_scores": np.zeros((2, 4), np.float32)}, r"expected scores of shape \(2, 3\)"),
        ({"changed_by": [()]}, "and 1 entries"),
        ({"changed_by": [("a", "b", "c"), ()]}, "at most 2 patches to change an answer, found 3"),
        ({"scores": np.full((2, 3), np.nan, np.float32)}, "expected finite scores"),
        ({"weak_scores": np.full((2, 3), np.inf, np.float32)}, "expected finite scores"),
    ],
)
def test_an_answer_that_does_not_fit_is_an_error(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_infer(parse(body()), made_answer(**fields))
