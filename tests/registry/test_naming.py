from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import AddressError
from registry.naming import (
    MAX_NAME_LENGTH,
    Address,
    class_module_name,
    parse_address,
    require_alias,
    require_name,
)

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,60}", fullmatch=True)
ALIASES = st.from_regex(r"[A-Za-z0-9_-]{1,30}", fullmatch=True).filter(
    lambda alias: alias.lower() != "latest" and not (alias[0] in "vV" and alias[1:].isdigit())
)


@given(NAMES, st.integers(1, 999_999_999))
def test_an_address_with_a_version_is_read_as_it_was_written(name: str, version: int) -> None:
    assert parse_address(str(Address(name, version=version))) == Address(name, version=version)


@given(NAMES, ALIASES)
def test_an_address_with_an_alias_is_read_as_it_was_written(name: str, alias: str) -> None:
    assert parse_address(str(Address(name, alias=alias))) == Address(name, alias=alias)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "digits",
        "models:/",
        "models:/digits",
        "models:/digits/0",
        "models:/digits/-1",
        "models:/digits/1/weights",
        "models:/digits/latest",
        "models:/digits@latest",
        "models:/digits@v3",
        "models:/digits@a b",
        "models:/m-0123456789abcdef0123456789abcdef",
        "models:/../3",
        "models:/di gits/3",
        "models:/digits/3\n",
        "runs:/abc/model",
        "models:/digits@champion/3",
    ],
)
def test_what_is_no_address_is_refused(uri: str) -> None:
    with pytest.raises(AddressError):
        parse_address(uri)


@given(st.tuples(NAMES, st.text(max_size=60)), st.tuples(NAMES, st.text(max_size=60)))
def test_distinct_class_modules_have_distinct_names(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (class_module_name(*one) == class_module_name(*other)) == (one == other)


@given(NAMES, st.text(max_size=2000))
def test_a_class_module_name_is_always_a_legal_one(strong_name: str, class_name: str) -> None:
    name = class_module_name(strong_name, class_name)
    assert require_name(name) == name
    assert parse_address(f"models:/{name}/1").name == name


def test_a_dot_in_a_name_does_not_make_two_class_modules_one() -> None:
    assert class_module_name("a", "b.c") != class_module_name("a.b", "c")


def test_a_plain_class_name_stays_readable() -> None:
    assert class_module_name("digits-strong", "seven_7") == "digits-strong.seven_7"


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a:b", "a b", "é", "x" * 201, "a\n"])
def test_an_illegal_name_is_refused(name: str) -> None:
    with pytest.raises(AddressError, match="name"):
        require_name(name)


def test_a_strong_name_too_long_to_add_to_is_refused() -> None:
    with pytest.raises(AddressError):
        class_module_name("x" * MAX_NAME_LENGTH, "cat")


@pytest.mark.parametrize("alias", ["", "latest", "Latest", "v1", "V12", "a/b", "a b", "x" * 101])
def test_an_illegal_alias_is_refused(alias: str) -> None:
    with pytest.raises(AddressError, match="alias"):
        require_alias(alias)
