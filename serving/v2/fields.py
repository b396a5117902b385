"""The fields of a JSON object that could come from anyone, each with the type it must have."""

from __future__ import annotations

import reprlib
from typing import Any

from serving.errors import BadInferRequestError

_LARGEST = 2**63 - 1


class Fields:
    """One object of a request; null is the same as not there, unknown fields are left alone.

    Args:
        value: what was found in its place.
        place: where that is, for messages, such as ``inputs[0]``.

    Raises:
        BadInferRequestError: if it is no object.
    """

    def __init__(self, value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise BadInferRequestError(f"{place}: expected an object, found {shown(value)}")
        self._values = value
        self.place = place

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._values.get(name) is not None

    def value(self, name: str) -> Any:
        """Whatever the field holds; None if it is not there."""
        return self._values.get(name)

    def text(self, name: str) -> str | None:
        """A string.

        Raises:
            BadInferRequestError: if it is something else.
        """
        value: str | None = self._of_type(name, str, "a string")
        return value

    def truth(self, name: str) -> bool | None:
        """True or false.

        Raises:
            BadInferRequestError: if it is something else; 1 and "true" are.
        """
        value: bool | None = self._of_type(name, bool, "true or false")
        return value

    def whole_number(self, name: str) -> int | None:
        """A whole number from 0 to 2^63 - 1.

        Raises:
            BadInferRequestError: if it is something else; true and 1.0 are.
        """
        value: int | None = self._of_type(name, int, "a whole number")
        if value is not None and not 0 <= value <= _LARGEST:
            raise self.error(f"expected {name} to be from 0 to 2^63 - 1, found {shown(value)}")
        return value

    def items(self, name: str) -> list[Any] | None:
        """A list of anything.

        Raises:
            BadInferRequestError: if it is something else.
        """
        value: list[Any] | None = self._of_type(name, list, "a list")
        return value

    def fields(self, name: str) -> Fields:
        """An object; an empty one if it is not there.

        Raises:
            BadInferRequestError: if it is something else.
        """
        value = self._values.get(name)
        return Fields({} if value is None else value, f"{self.place}: {name}")

    def error(self, message: str) -> BadInferRequestError:
        """An error that says where it is."""
        return BadInferRequestError(f"{self.place}: {message}")

    def _of_type(self, name: str, kind: type, words: str) -> Any:
        value = self._values.get(name)
        if value is not None and type(value) is not kind:  # a bool is an int to isinstance
            raise self.error(f"expected {name} to be {words}, found {shown(value)}")
        return value


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 60
        self.maxlist = 8


def shown(value: Any) -> str:
    """A value for a message, cut short; what can't be printed is escaped.

    Example:
        >>> shown(list(range(1000)))
        '[0, 1, 2, 3, 4, 5, 6, 7, ...]'
    """
    return _Short().repr(value)
