from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.serving.answers import LABEL_READERS, OK, UNREADABLE, WRONG_LABEL, kind_of, told_by
from benchmarks.serving.connection import Answer
from serving.decoding.limits import ImageLimits
from serving.v2.answer import InferAnswer, encode_infer
from serving.v2.request import parse_infer


def v2_answer(*, binary: bool) -> Answer:
    """What the service's own code answers, for a picture of a dog."""
    asked = {
        "inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 1, 1], "data": [1]}],
        "parameters": {"binary_data_output": binary},
    }
    limits = ImageLimits(1, 100, 100)
    request = parse_infer(json.dumps(asked).encode(), header_length=None, limits=limits)
    scores = np.array([[0.25, 0.75]], np.float32)
    said = InferAnswer("served", "1", ("cat", "dög"), scores, scores, ["dög"], [["dög"]])
    body, headers = encode_infer(request, said)
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in headers.items())]
    return Answer(200, "\r\n".join(lines).encode(), body)


@pytest.mark.parametrize("binary", [False, True])
def test_labels_are_found_in_the_open_inference_protocol(*, binary: bool) -> None:
    reader = "v2-binary" if binary else "v2-json"
    answer = v2_answer(binary=binary)
    assert kind_of(answer, ("dög",), reader=reader) == OK
    assert kind_of(answer, ("cat",), reader=reader) == WRONG_LABEL


def test_labels_are_found_in_answers_to_predict() -> None:
    answer = Answer(200, b"", b'{"predictions": [{"label": "dog"}, {"label": "cat"}]}')
    assert kind_of(answer, ("dog",), reader="predictions") == OK
    assert kind_of(answer, ("cat",), reader="predictions") == WRONG_LABEL


def test_an_answer_is_right_if_its_own_version_says_so() -> None:
    first, second = told_by(1, "dog", "cat", ["dog"]), told_by(2, "cat", "cat", [])
    for said, version, expected in (("dog", 1, OK), ("dog", 2, WRONG_LABEL), ("cat", 2, OK)):
        prediction = {
            "label": said,
            "weak_label": "cat",
            "changed_by": ["dog"] if said == "dog" else [],
        }
        body = {"model": {"version": version}, "predictions": [prediction]}
        answer = Answer(200, b"", json.dumps(body).encode())
        assert kind_of(answer, (first, second), reader="version") == expected


@pytest.mark.parametrize("reader", LABEL_READERS)
@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"3", b"\xff", b'{"outputs": []}'])
def test_what_can_not_be_read_is_a_failure_and_no_error(reader: str, body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: 3"
    assert kind_of(Answer(200, head, body), ("dog",), reader=reader) == UNREADABLE
    assert kind_of(Answer(503, head, body), ("dog",), reader=reader) == "503"
