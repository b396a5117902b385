"""The steps by which a version comes to be and an alias moves."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """What has just been done; told in this order, those from STAGED to READY once a model.

    A process may be killed after any of them. Until VERSIONED there is no version; from then on
    it is complete. An alias moves in one step, MOVED, and the move is on record before it.
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
    RUN_ENDED = "the run is marked as finished"
    MOVE_RECORDED = "why an alias is to move, and by which evidence, is on record"
    MOVED = "the alias has moved"
    MOVE_ENDED = "the record says that it did"


StepCallback = Callable[[Step], None]


def ignore_step(step: Step) -> None:
    """A callback for those who don't want to know."""
