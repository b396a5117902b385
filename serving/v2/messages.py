"""What the protocol says about the server and its models, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from serving.v2.answer import MOVERS
from serving.v2.images import INPUT_NAME

EXTENSIONS = ("binary_tensor_data", "classification", "model_repository", "parameters")
"""Triton's extensions of the protocol that the service speaks."""

PLATFORM = "patchbay_bundle"

ModelState = Literal["UNKNOWN", "READY", "UNAVAILABLE", "LOADING", "UNLOADING"]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ErrorMessage(_Message):
    """The body of every answer that is an error; clients expect one string."""

    error: str


class ServerLive(_Message):
    """The body of ``GET /v2/health/live``."""

    live: bool


class ServerReady(_Message):
    """The body of ``GET /v2/health/ready``."""

    ready: bool


class ServerMetadata(_Message):
    """The body of ``GET /v2``."""

    name: str = "patchbay"
    version: str
    extensions: tuple[str, ...] = EXTENSIONS


class TensorMetadata(_Message):
    """An input or output of a model; -1 is a size that may be any."""

    name: str
    datatype: Literal["UINT8", "FP32", "BYTES"]
    shape: tuple[int, ...]


class ModelMetadata(_Message):
    """The body of ``GET /v2/models/NAME``."""

    name: str
    versions: tuple[str, ...]
    platform: str = PLATFORM
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


class ModelReady(_Message):
    """The body of ``GET /v2/models/NAME/ready``."""

    name: str
    ready: bool


class RepositoryEntry(_Message):
    """One model version in the answer of ``POST /v2/repository/index``, which is a list of them.

    Attributes:
        name: of the model.
        version: of the model.
        state: whether it can be asked; UNAVAILABLE also where it was never loaded.
        reason: why it is in this state; empty if there is nothing to say.
        kind: patched, weak or class_module; beyond the protocol, as all that follows.
        active: whether it answers where no model is named.
        pinned: whether it stays in memory until it is unloaded.
        resident_bytes: of its own parameters.
    """

    name: str
    version: str
    state: ModelState
    reason: str = ""
    kind: str = ""
    active: bool = False
    pinned: bool = False
    resident_bytes: int = 0


def describe_model(name: str, *, versions: Sequence[str], classes: int) -> ModelMetadata:
    """The inputs and outputs of a patched model.

    The input has one datatype there, UINT8; a model takes FP32 and BYTES as well, and [H, W, C].

    Args:
        name: of the model.
        versions: those that can be asked for.
        classes: how many it tells apart.
    """
    return ModelMetadata(
        name=name,
        versions=tuple(versions),
        inputs=(TensorMetadata(name=INPUT_NAME, datatype="UINT8", shape=(-1, -1, -1, -1)),),
        outputs=(
            TensorMetadata(name="scores", datatype="FP32", shape=(-1, classes)),
            TensorMetadata(name="label", datatype="BYTES", shape=(-1,)),
            TensorMetadata(name="weak_scores", datatype="FP32", shape=(-1, classes)),
            TensorMetadata(name="changed_by", datatype="BYTES", shape=(-1, MOVERS)),
        ),
    )
