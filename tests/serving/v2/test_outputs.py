from __future__ import annotations

import re
from typing import Any

import pytest

from serving.errors import BadInferRequestError
from serving.v2.outputs import OUTPUT_NAMES, RequestedOutput
from tests.serving.v2.bodies import body, parse


@pytest.mark.parametrize("fields", [{}, {"outputs": []}, {"outputs": None}])
@pytest.mark.parametrize("binary", [None, False, True])
def test_all_outputs_are_meant_where_none_is_named(
    fields: dict[str, Any], binary: bool | None
) -> None:
    request = parse(body(**fields, parameters={"binary_data_output": binary}))
    assert request.outputs == tuple(RequestedOutput(name, bool(binary)) for name in OUTPUT_NAMES)


def test_an_output_overrules_the_request() -> None:
    outputs = [
        {"name": "weak_scores", "parameters": {"binary_data": False}},
        {"name": "label", "parameters": {"unknown": 1}},
        {"name": "scores", "parameters": {"classification": 2, "binary_data": None}},
    ]
    request = parse(body(outputs=outputs, parameters={"binary_data_output": True}))
    assert request.outputs == (
        RequestedOutput("weak_scores", binary=False),
        RequestedOutput("label", binary=True),
        RequestedOutput("scores", binary=True, top_classes=2),
    )


def test_a_classification_of_nothing_is_none() -> None:
    [output] = parse(body(outputs=[{"name": "label", "parameters": {"classification": 0}}])).outputs
    assert output.top_classes is None


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "the request: expected outputs to be a list, found {}"),
        (["scores"], "outputs[0]: expected an object, found 'scores'"),
        ([{}], "expected one of scores, label, weak_scores, changed_by, found None"),
        ([{"name": "label"}, {"name": "x"}], "outputs[1]: expected one of scores, label"),
        ([{"name": ["scores"]}], "expected name to be a string, found ['scores']"),
        ([{"name": "label"}] * 2, "expected each output once, found 'label' twice"),
        ([{"name": "label", "parameters": 1}], "outputs[0]: parameters: expected an object"),
        ([{"name": "label", "parameters": {"binary_data": 1}}], "true or false, found 1"),
        ([{"name": "label", "parameters": {"classification": 2}}], "found it of 'label'"),
        ([{"name": "scores", "parameters": {"classification": -2}}], "found -2"),
        ([{"name": "scores", "parameters": {"classification": "2"}}], "found '2'"),
        ([{"name": "scores", "parameters": {"shared_memory_region": "r"}}], "shared memory"),
    ],
)
def test_other_outputs_are_refused(outputs: Any, message: str) -> None:
    with pytest.raises(BadInferRequestError, match=re.escape(message)):
        parse(body(outputs=outputs))


@pytest.mark.parametrize("value", [1, "true", []])
def test_binary_data_output_is_true_or_false(value: Any) -> None:
    with pytest.raises(BadInferRequestError, match="expected binary_data_output to be true or"):
        parse(body(parameters={"binary_data_output": value}))
