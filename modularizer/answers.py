"""What the weak and the patched model answered on labelled images, small enough to be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modularizer.errors import DataError
from modularizer.metrics import Labels


@dataclass(frozen=True)
class Answers:
    """Class indices on the same images, side by side.

    Attributes:
        class_names: of the indices.
        labels: what the images are, int64 (N,).
        weak: what the weak model says, int64 (N,).
        patched: what the patched model says, int64 (N,).
    """

    class_names: tuple[str, ...]
    labels: Labels = field(compare=False)
    weak: Labels = field(compare=False)
    patched: Labels = field(compare=False)

    def as_json(self) -> dict[str, Any]:
        """As JSON values; a line of numbers for each."""
        return {
            "class_names": list(self.class_names),
            **{name: " ".join(map(str, getattr(self, name))) for name in _COLUMNS},
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Answers:
        """What `as_json` gave.

        Raises:
            DataError: if it is something else.
        """
        try:
            names = tuple(str(name) for name in plain["class_names"])
            columns = [
                np.array([int(number) for number in plain[name].split()], dtype=np.int64)
                for name in _COLUMNS
            ]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(f"stored answers can't be read: {error}") from error
        lengths = {len(column) for column in columns}
        if len(lengths) != 1 or any(
            len(column) and not 0 <= column.min() <= column.max() < len(names) for column in columns
        ):
            raise DataError("stored answers don't fit together")
        return cls(names, *columns)


_COLUMNS = ("labels", "weak", "patched")
