from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import BadQueryError
from serving.routes.query import PredictQuery, chosen_patches, parse_query


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", PredictQuery()),
        ("patches=none", PredictQuery(patches=("none",))),
        ("patches=cat,dog&explain=1", PredictQuery(patches=("cat,dog",), explain=True)),
        ("patches=cat&patches=dog", PredictQuery(patches=("cat", "dog"))),
        ("patches=sea%20lion", PredictQuery(patches=("sea lion",))),
        ("patches=sea+lion", PredictQuery(patches=("sea lion",))),
        ("patches=", PredictQuery(patches=("",))),
        ("explain=True&timeout_ms=250", PredictQuery(explain=True, timeout_ms=250)),
        ("explain=0", PredictQuery()),
    ],
)
def test_what_is_sent_is_read(query: str, expected: PredictQuery) -> None:
    assert parse_query(query) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("patch=none", "unknown parameter 'patch'; there are patches="),
        ("explain=perhaps", "explain is 1 or 0, found 'perhaps'"),
        ("explain=1&explain=1", "explain is given 2 times"),
        ("timeout_ms=0", "whole number from 1 to 3600000"),
        ("timeout_ms=-5", "whole number from 1"),
        ("timeout_ms=1e3", "whole number from 1"),
        ("timeout_ms=" + "9" * 5000, "whole number from 1"),
        ("patches", "can't be read"),
        ("patches=%ff", "can't be read"),
        ("&".join(["patches=a"] * 201), "can't be read"),
    ],
)
def test_what_can_not_be_meant_is_an_error(query: str, message: str) -> None:
    with pytest.raises(BadQueryError, match=message):
        parse_query(query)


@given(st.text(max_size=30))
def test_whatever_is_sent_is_read_or_refused(text: str) -> None:
    for query in (text, urlencode({"patches": text}), urlencode({"timeout_ms": text})):
        with suppress(BadQueryError):
            chosen_patches(parse_query(query).patches, ("cat",))


KNOWN = ("cat", "dog", "tench, Tinca tinca", "none of these")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (None, None),
        (["all"], None),
        (["none"], ()),
        (["cat"], ("cat",)),
        (["dog,cat"], ("dog", "cat")),
        (["dog, cat"], ("dog", "cat")),
        (["tench, Tinca tinca"], ("tench, Tinca tinca",)),
        (["tench, Tinca tinca", "cat"], ("tench, Tinca tinca", "cat")),
        (["none of these"], ("none of these",)),
        (["bird"], ("bird",)),
    ],
)
def test_values_name_classes(values: list[str] | None, expected: tuple[str, ...] | None) -> None:
    assert chosen_patches(values, KNOWN) == expected


def test_a_class_may_be_called_like_a_word_of_ours() -> None:
    assert chosen_patches(["none"], ("none", "cat")) == ("none",)


@pytest.mark.parametrize("values", [["none,cat"], ["all", "cat"], ["cat,"], ["none", "all"]])
def test_none_and_all_stand_alone(values: list[str]) -> None:
    with pytest.raises(BadQueryError, match="stand alone"):
        chosen_patches(values, KNOWN)


def test_an_empty_choice_is_asked_what_it_means() -> None:
    with pytest.raises(BadQueryError, match="for the weak model alone say patches=none"):
        chosen_patches([""], KNOWN)
