"""Classes that two models call by different names: a mapping file, checked strictly."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modularizer.errors import DataError

_MOST_BYTES = 2**20


class OtherNames:
    """What other models call a weak model's classes.

    Args:
        class_names: the weak model's, in its order.
        others: from some of them to other names; each name stands for one class alone.

    Raises:
        DataError: if a class is unknown, or a name stands for two classes or comes up twice.

    Example:
        >>> names = OtherNames(("automobile", "cat"), {"automobile": ("car", "auto")})
        >>> names.own_name("car"), names.own_name("cat"), names.own_name("dog")
        ('automobile', 'cat', None)
    """

    def __init__(
        self, class_names: Sequence[str], others: Mapping[str, Iterable[str]] | None = None
    ) -> None:
        self.class_names = tuple(class_names)
        self._own = {name: name for name in class_names}
        for own, names in (others or {}).items():
            if own not in self.class_names:
                raise DataError(
                    f"the weak model has no class {own!r}; it has {', '.join(class_names)}"
                )
            for name in names:
                if name in self._own:
                    raise DataError(
                        f"{name!r} is given as another name of {own!r}, and is a name of "
                        f"{self._own[name]!r} already"
                    )
                self._own[name] = own

    def own_name(self, name: str) -> str | None:
        """The weak model's name of a class that another model calls ``name``; None if it has none.

        A name of the weak model's own stands for itself.
        """
        return self._own.get(name)

    def places_in(self, names: Sequence[str]) -> tuple[int, ...] | None:
        """Where another model has each of the weak model's classes.

        Args:
            names: the other model's.

        Returns:
            For each class of the weak model the place of its own name, else of the first other
            name; None if the other model lacks one.
        """
        found: dict[str, int] = {}
        for place, name in enumerate(names):
            own = self.own_name(name)
            if own is not None and (own not in found or name == own):
                found[own] = place
        if len(found) < len(self.class_names):
            return None
        return tuple(found[name] for name in self.class_names)


def read_other_names(path: Path | None, class_names: Sequence[str]) -> OtherNames:
    """Read a mapping file: JSON such as ``{"automobile": ["car", "auto"]}``.

    Args:
        path: of the file; None for no other names.
        class_names: the weak model's, the only keys that are allowed.

    Raises:
        DataError: if it can't be read, is something else, names a class that the weak model has
            not, or a name twice.
    """
    if path is None:
        return OtherNames(class_names)
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"the class names in {path} can't be read: {error.strerror}") from error
    try:
        if len(raw) > _MOST_BYTES:
            raise DataError(f"a file of class names has at most {_MOST_BYTES} bytes")
        return OtherNames(class_names, _table(raw))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _table(raw: bytes) -> dict[str, list[str]]:
    try:
        plain = json.loads(raw, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise DataError(f"it is no JSON: {str(error)[:200]}") from error
    if not isinstance(plain, dict):
        raise DataError(
            f"expected a table from the weak model's class names to lists of other names, found "
            f"{_shown(plain)}"
        )
    for own, names in plain.items():
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise DataError(f"expected a list of names for {own!r}, found {_shown(names)}")
    return plain


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise DataError("a name appears twice on the left")
    return table


def _shown(plain: Any) -> str:
    text = json.dumps(plain)
    return text if len(text) <= 60 else f"{text[:60]}..."
