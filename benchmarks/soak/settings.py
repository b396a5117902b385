"""How long a soak is, and how much happens in it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, le=600)]


class SoakSettings(BaseModel):
    """The size of a soak.

    Attributes:
        seconds: of load.
        load_share: of what the service answers in a second at best.
        capacity_seconds: for which that is measured beforehand.
        clients: with which it is measured.
        move_seconds: from one move of the alias to the next.
        load_seconds: from one model that is loaded, or let go of, to the next.
        warm_up_seconds: of the load, after which memory counts.
        seed: of weights, masks, pictures and times.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: Seconds = 600.0
    load_share: Annotated[float, Field(gt=0, le=2)] = 0.8
    capacity_seconds: Seconds = 10.0
    clients: Annotated[int, Field(ge=1, le=1024)] = 32
    move_seconds: Seconds = 20.0
    load_seconds: Seconds = 2.0
    warm_up_seconds: Seconds = 60.0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
