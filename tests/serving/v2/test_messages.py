from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from serving.v2.answer import encode_infer
from serving.v2.messages import (
    ErrorMessage,
    RepositoryEntry,
    ServerMetadata,
    describe_model,
)
from serving.v2.outputs import OUTPUT_NAMES
from tests.serving.v2.bodies import body, parse
from tests.serving.v2.test_answer import made_answer


def test_an_error_is_one_string() -> None:
    assert json.loads(ErrorMessage(error="why").model_dump_json()) == {"error": "why"}


def test_the_server_names_its_extensions() -> None:
    message = json.loads(ServerMetadata(version="1.2").model_dump_json())
    assert message == {
        "name": "patchbay",
        "version": "1.2",
        "extensions": ["binary_tensor_data", "classification", "model_repository", "parameters"],
    }


def test_a_model_is_described_as_it_answers() -> None:
    message = json.loads(describe_model("digits", versions=["3"], classes=3).model_dump_json())
    encoded, _ = encode_infer(parse(body()), made_answer())
    answered = {one["name"]: one for one in json.loads(encoded)["outputs"]}
    assert [one["name"] for one in message["outputs"]] == list(OUTPUT_NAMES)
    for output in message["outputs"]:
        one = answered[output["name"]]
        assert output["datatype"] == one["datatype"]
        assert output["shape"] == [-1, *one["shape"][1:]]
    assert message["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, -1, -1, -1]}]
    assert (message["name"], message["versions"]) == ("digits", ["3"])
    assert isinstance(message["platform"], str)


def test_an_entry_of_the_repository_has_a_known_state() -> None:
    entry = RepositoryEntry(name="digits", version="3", state="READY")
    assert json.loads(entry.model_dump_json())["reason"] == ""
    with pytest.raises(ValidationError, match="state"):
        RepositoryEntry(name="digits", version="3", state="FINE")
