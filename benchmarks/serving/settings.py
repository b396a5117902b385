"""How much a run measures."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Clients = Annotated[int, Field(ge=1, le=1024)]
Seconds = Annotated[float, Field(gt=0, le=60)]


PeerName = Literal["mlflow", "starlette", "litserve"]

PEERS: tuple[PeerName, ...] = get_args(PeerName)
"""Servers of the same model that are measured beside the service."""


class ServingBenchSettings(BaseModel):
    """The size of a run.

    Attributes:
        rounds: windows of each row; what is compared alternates within a round.
        window_seconds: of each of them.
        open_seconds: of a window in which requests come at times of their own.
        clients: numbers of clients that ask again as soon as they have their answer.
        peers: other servers of the same model that are measured beside it.
        seed: of weights, mask, pictures and times.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: Annotated[int, Field(ge=1, le=1000)] = 8
    window_seconds: Seconds = 2.0
    open_seconds: Seconds = 6.0
    clients: Annotated[tuple[Clients, ...], Field(min_length=1)] = (1, 8, 32)
    peers: tuple[PeerName, ...] = PEERS
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @property
    def warm_up_seconds(self) -> float:
        """Before each window of a row."""
        return min(0.3, self.window_seconds / 4)
