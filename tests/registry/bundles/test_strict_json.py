from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.bundles.strict_json import MAX_VALUES, dump_strict_json, parse_strict_json
from registry.errors import BundleError

plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # A lone surrogate is no text that UTF-8 holds.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("ab"), inner),
)


@given(plain_values)
def test_what_is_written_is_read(plain: Any) -> None:
    assert parse_strict_json(dump_strict_json(plain, "it"), "it") == plain


@pytest.mark.parametrize(
    "raw", [b"", b"\xff", b'{"a": 1, "a": 1}', b"[NaN]", b"[1e999]", b"[" * 100_000]
)
def test_loose_ends_are_refused(raw: bytes) -> None:
    with pytest.raises(BundleError, match="it can't be read as JSON"):
        parse_strict_json(raw, "it")


@pytest.mark.parametrize("value", [b"1", b"[]", b'{"a":1}', b'""'])
def test_a_swarm_of_values_is_refused_before_it_takes_memory(value: bytes) -> None:
    raw = b"[" + b",".join([value] * MAX_VALUES) + b",1]"
    with pytest.raises(BundleError, match=f"it may hold {MAX_VALUES} values, found"):
        parse_strict_json(raw, "it")


def test_a_swarm_of_values_is_not_written() -> None:
    with pytest.raises(BundleError, match=f"may hold {MAX_VALUES} values"):
        dump_strict_json([1] * (MAX_VALUES + 1), "it", indent=None)


def test_as_many_values_as_may_be_are_read() -> None:
    plain = [1] * (MAX_VALUES - 1)
    assert parse_strict_json(dump_strict_json(plain, "it", indent=None), "it") == plain
