from __future__ import annotations

import re
from typing import Any

import pytest

from serving.errors import BadInferRequestError
from serving.v2.fields import Fields, shown


def test_each_type_is_given_back() -> None:
    fields = Fields({"t": "x", "b": False, "n": 0, "l": [1], "o": {"t": "y"}}, "it")
    assert fields.text("t") == "x"
    assert fields.truth("b") is False
    assert fields.whole_number("n") == 0
    assert fields.items("l") == [1]
    assert fields.fields("o").text("t") == "y"


@pytest.mark.parametrize("values", [{}, {"a": None}])
def test_null_is_the_same_as_not_there(values: dict[str, Any]) -> None:
    fields = Fields(values, "it")
    assert not fields.has("a")
    assert fields.text("a") is None
    assert fields.truth("a") is None
    assert fields.whole_number("a") is None
    assert fields.items("a") is None
    assert fields.fields("a").text("b") is None


@pytest.mark.parametrize(
    ("read", "value", "message"),
    [
        (Fields.text, 1, "it: expected a to be a string, found 1"),
        (Fields.truth, 1, "it: expected a to be true or false, found 1"),
        (Fields.truth, "true", "it: expected a to be true or false, found 'true'"),
        (Fields.whole_number, True, "it: expected a to be a whole number, found True"),
        (Fields.whole_number, 1.0, "it: expected a to be a whole number, found 1.0"),
        (Fields.whole_number, float("inf"), "it: expected a to be a whole number, found inf"),
        (Fields.whole_number, -1, "it: expected a to be from 0 to 2^63 - 1, found -1"),
        (Fields.whole_number, 2**63, "it: expected a to be from 0 to 2^63 - 1, found 92233"),
        (Fields.items, {}, "it: expected a to be a list, found {}"),
        (Fields.fields, [], "it: a: expected an object, found []"),
    ],
)
def test_another_type_is_an_error(read: Any, value: Any, message: str) -> None:
    with pytest.raises(BadInferRequestError, match=re.escape(message)):
        read(Fields({"a": value}, "it"), "a")


@pytest.mark.parametrize(
    "value", ["x" * 10**6, [1] * 10**6, 10**4000, {"a" * 10**6: "b" * 10**6}, [[[[[[[["x"]]]]]]]]]
)
def test_what_is_shown_is_short(value: Any) -> None:
    assert len(shown(value)) < 200


def test_what_is_shown_can_be_sent() -> None:
    assert shown("a\n\ud800\x1b") == repr("a\n\ud800\x1b")
    shown("\ud800").encode()
