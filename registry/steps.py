"""The steps by which a version comes to be and goes, and an alias moves."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """What has just been done.

    Registering takes those from RUN_STARTED to VERSIONED, those from STAGED to READY once a model,
    and RUN_ENDED; a move RUN_STARTED, MOVE_RECORDED, MOVED and RUN_ENDED; deleting a move for each
    alias that is dropped, and VERSION_DELETED. A process may be killed after any of them: until
    VERSIONED there is no version, and from then on it is complete; a move is on record before it
    happens.
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
    VERSION_DELETED = "the version is deleted, its LoggedModel and files are not"
    RUN_ENDED = "the run is marked as finished"


StepCallback = Callable[[Step], None]


def ignore_step(step: Step) -> None:
    """A callback for those who don't want to know."""
