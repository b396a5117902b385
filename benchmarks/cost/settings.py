"""How large the reference networks are, and which masks are drawn."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class CostSettings(BaseModel):
    """How the reference networks and their class modules are made.

    Attributes:
        width: of both networks, as a share of the paper's.
        seed: of the masks; the first class's, then one more for each class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Annotated[float, Field(ge=0.05, le=1)] = 1.0
    seed: Annotated[int, Field(ge=0)] = 0
