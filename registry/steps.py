"""The steps by which a version comes to be and an alias moves."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """What has just been done.

    Registering takes all but those of a move, those from STAGED to READY once a model, and a
    move those from RUN_STARTED, MOVE_RECORDED, MOVED to RUN_ENDED. A process may be killed after
    any of them: until VERSIONED there is no version, and from then on it is complete; a move is
    on record before it happens.
    """

    RUN_STARTED = "the MLflow run is there"
    STAGED = "the bundle lies in a folder of this process"
    MODEL_CREATED = "the LoggedModel is there, pending"
    UPLOADED = "its files are in the store"
    READ_BACK = "they were read back; digests and a test prediction agree"
    READY = "its metrics are logged and it is marked as ready"
    LINKED = "lineage is logged"
    NAMED = "the registered name is there"
    VERSIONED = "the version is there"
    MOVE_RECORDED = "why an alias is to move, and by which evidence, is on record"
    MOVED = "the alias has moved"
    RUN_ENDED = "the run is marked as finished"


StepCallback = Callable[[Step], None]


def ignore_step(step: Step) -> None:
    """A callback for those who don't want to know."""
