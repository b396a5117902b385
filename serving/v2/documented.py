"""The protocol's bodies as the OpenAPI document shows them.

They are read and written by hand (`request`, `answer`), which takes and gives more than a schema
can say; the tests hold these to what is read and written.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class InputTensor(_Shown):
    """The one input: UINT8 or FP32 [N, H, W, C] or [H, W, C]; or BYTES [N], an image file each."""

    name: Literal["images"]
    shape: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=4)]
    datatype: Literal["UINT8", "FP32", "BYTES"]
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class WantedOutput(_Shown):
    """One output that is asked for."""

    name: Literal["scores", "label", "weak_scores", "changed_by"]
    parameters: dict[str, Any] | None = None


class InferRequestBody(_Shown):
    """What ``POST /v2/models/NAME/infer`` takes; other fields are left alone."""

    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=1)]
    outputs: list[WantedOutput] | None = None
    id: str | None = None
    parameters: dict[str, Any] | None = None


class OutputTensor(_Shown):
    """One output: FP32 [N, classes], or BYTES."""

    name: Literal["scores", "label", "weak_scores", "changed_by"]
    shape: list[int]
    datatype: Literal["FP32", "BYTES"]
    parameters: dict[str, Any] | None = None
    data: list[float] | list[str] | None = None


class InferResponseBody(_Shown):
    """What ``POST /v2/models/NAME/infer`` answers."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | None = None


class RepositoryRequestBody(_Shown):
    """What the repository's routes take.

    Attributes:
        ready: of the index: only what is in memory.
        parameters: of load and unload: ``version`` or ``alias``, and ``pin`` of a part.
    """

    ready: bool | None = None
    parameters: dict[str, Any] | None = None
