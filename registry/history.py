"""Who moved which alias when, why and by which evidence; and where the way back leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Action = Literal["promotion", "rollback", "removal"]
ACTIONS: tuple[Action, ...] = ("promotion", "rollback", "removal")


@dataclass(frozen=True)
class Move:
    """One move of an alias, as it is on record.

    Attributes:
        name: the registered name.
        alias: what was moved.
        action: promotion and removal go forward, rollback goes back.
        before: the version it stood before; None if there was no such alias.
        after: the version it stands for since; None if it was removed.
        who: the user's name on the machine that did it.
        when: in UTC.
        reason: in the words of who did it; may be empty.
        forced: whether a gate's refusal was overruled.
        verdict: what the gate said, see `modularizer.gate`; None if it wasn't asked.
        run_id: MLflow's run that holds all this.
        is_done: whether the move is known to have happened; False while it is under way, and
            where a process was killed at it.
    """

    name: str
    alias: str
    action: Action
    before: int | None
    after: int | None
    who: str
    when: datetime
    reason: str
    forced: bool
    verdict: Mapping[str, Any] | None
    run_id: str
    is_done: bool


def trail(moves: Sequence[Move], now: int | None) -> list[int]:
    """The versions that an alias went forward through, to where it stands; each step back ends one.

    A version that somebody set without patchbay is part of it, as far as a later move tells.

    Args:
        moves: of one alias, the oldest first.
        now: the version it stands for; None if there is no such alias.

    Returns:
        Version numbers, the last one ``now`` unless that is None.
    """
    found: list[int] = []
    for move in moves:
        if move.is_done:
            _go_to(found, move.before)
            if move.action == "rollback":
                found[:] = _back_to(found, move.after)
            else:
                _go_to(found, move.after)
    _go_to(found, now)
    return found


def _go_to(found: list[int], version: int | None) -> None:
    if version is not None and found[-1:] != [version]:
        found.append(version)


def _back_to(found: Sequence[int], version: int | None) -> list[int]:
    # What lies between are versions that were deleted before the step back.
    for length in range(len(found) - 1, 0, -1):
        if found[length - 1] == version:
            return list(found[:length])
    return [] if version is None else [version]
