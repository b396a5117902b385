"""What a track's results were made by: read from a file, and refused where it does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, FiniteFloat, ValidationError, model_validator

from benchmarks.paper.rows import ROWS
from benchmarks.paper.track import KINDS, Track
from modularizer.assembly.calibration import Calibration
from modularizer.assembly.fusion import Fusion, require_fitting_fusion
from modularizer.errors import DataError, PatchError

PROTOCOL = "protocol.json"
Count = Annotated[int, Field(ge=1, strict=True)]
Number = Annotated[FiniteFloat, Field(strict=True)]


class Fitted(BaseModel):
    """A row's rule for one weak model, with validation metrics by name (see `METRICS`)."""

    fusion: Fusion
    calibrations: tuple[Calibration]
    weak: dict[str, Number]
    patched: dict[str, Number]

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        try:
            require_fitting_fusion(self.fusion, self.calibrations)
        except PatchError as error:
            raise ValueError(str(error)) from None
        return self


class FittedRow(BaseModel):
    """A row's rules, by model (``suite/target/kind``)."""

    models: dict[str, Fitted]


class Chosen(BaseModel):
    """Keys of the rows that stand for the paper, for the best replacement and for the best."""

    paper: Literal["paper"]
    best_replacement: str
    best: str

    @model_validator(mode="after")
    def _may_be_chosen(self) -> Self:
        candidates = {row.key: row for row in ROWS if row.purpose == "candidate"}
        for key in (self.best_replacement, self.best):
            if key not in candidates:
                raise ValueError(f"{key!r} is no row that may be chosen")
        if not candidates[self.best_replacement].replaces:
            raise ValueError(f"{self.best_replacement!r} is no replacement")
        return self


class Selection(BaseModel):
    """Every fit and every choice, see `selection.select`."""

    rows: dict[str, FittedRow]
    chosen: Chosen
    harms: dict[str, list[str]]


class Cost(BaseModel):
    """Of a network."""

    kernels: Count
    multiply_adds: Count


class Passes(BaseModel):
    """Of images through networks, that a search took."""

    search: Number


class Decomposition(Cost):
    """A strong network and its modules."""

    classes: Annotated[list[Cost], Field(min_length=1)]
    diff: Number
    passes: Passes


class Protocol(BaseModel):
    """The track, its choices, and what was trained."""

    track: Track
    selection: Selection
    decompositions: dict[str, Decomposition]
    models: dict[str, dict[str, Any]]
    seconds: Number
    workers: Count
    environment: dict[str, Any]
    images: str

    @model_validator(mode="after")
    def _is_of_its_track(self) -> Self:
        suites = {suite.name for suite in self.track.suites}
        if set(self.decompositions) != suites:
            raise ValueError(f"decompositions are of {', '.join(sorted(self.decompositions))}")
        models = {f"{model}/{kind}" for model in self.track.models for kind in KINDS}
        for key, row in self.selection.rows.items():
            if other := sorted(models ^ set(row.models)):
                raise ValueError(f"row {key!r} and the track differ in {', '.join(other)}")
        return self


def read_protocol(folder: Path) -> tuple[Track, dict[str, Any]]:
    """The track of a folder of results, and everything that ``protocol.json`` says, as JSON.

    Raises:
        DataError: if it is missing, broken, or not of this form.
    """
    path = folder / PROTOCOL
    try:
        found = json.loads(path.read_text())
        return Protocol.model_validate(found).track, found
    except (OSError, RecursionError) as error:
        raise DataError(f"{folder} holds no results: {error}") from error
    except ValidationError as error:
        one = error.errors()[0]
        place = ".".join(map(str, one["loc"]))
        raise DataError(f"{path} does not fit: {place}: {one['msg']}") from error
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}") from error
