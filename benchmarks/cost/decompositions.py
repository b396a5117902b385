"""What an earlier run of the paper's experiment counted, from its ``protocol.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from benchmarks.cost.counting import Counted
from benchmarks.cost.rows import STRONG, TakenApart
from benchmarks.paper.protocol import Cost, Count
from benchmarks.paper.published import MODULES
from modularizer.errors import DataError


class _Module(Cost):
    class_name: str = Field(alias="class")
    parameters: Count


class _Decomposition(Cost):
    classes: Annotated[list[_Module], Field(min_length=1)]


class _File(BaseModel):
    """As much of the file as is read; the rest may be anything."""

    decompositions: Annotated[dict[str, _Decomposition], Field(min_length=1)]


def read_decompositions(path: Path) -> list[TakenApart]:
    """The decompositions of a file, in its order.

    The file counts no parameters of the strong network and no bytes.

    Raises:
        DataError: if it can't be read or holds something else.
    """
    try:
        found = _File.model_validate_json(path.read_bytes())
    except ValidationError as error:
        one = error.errors()[0]
        place = ".".join(map(str, one["loc"])) or "the file"
        raise DataError(
            f"expected decompositions as in a protocol.json of patchbay bench paper, found "
            f"{path}: {place}: {one['msg']}"
        ) from error
    return [_taken_apart(name, path, one) for name, one in found.decompositions.items()]


def _taken_apart(name: str, path: Path, found: _Decomposition) -> TakenApart:
    return TakenApart(
        name=f"{name} of {path.name}",
        masks="searched for",
        strong=Counted(STRONG, found.kernels, found.multiply_adds),
        modules=tuple(
            Counted(one.class_name, one.kernels, one.multiply_adds, one.parameters)
            for one in found.classes
        ),
        suite=name if name in MODULES else None,
    )
