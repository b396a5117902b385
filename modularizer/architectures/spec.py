"""How a bundle names a network: by an allow-listed name and plain arguments."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ArchitectureSpec(BaseModel):
    """A network's structure, without its weights, as plain data.

    Attributes:
        name: a name of the allow-list, such as ``simcnn`` or ``torchvision.resnet18``.
        arguments: keyword arguments of its builder; JSON values only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    arguments: dict[str, Any] = Field(default_factory=dict)
