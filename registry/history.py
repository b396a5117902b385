"""Who moved which alias when, why and by which evidence; and where the way back leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from registry.version import UnreadVersion, Version

Action = Literal["promotion", "rollback", "removal"]
ACTIONS: tuple[Action, ...] = ("promotion", "rollback", "removal")


@dataclass(frozen=True)
class Stand:
    """What an alias stood for: a name that was deleted and made again has each number twice.

    Attributes:
        version: 1 or more.
        model_id: MLflow's LoggedModel; empty where it is not known.
    """

    version: int
    model_id: str = ""

    @classmethod
    def of(cls, version: Version | UnreadVersion) -> Stand:
        """Where a version is."""
        return cls(version.version, version.model_id if isinstance(version, Version) else "")

    def is_same(self, other: Stand) -> bool:
        """Whether both are one version, as far as is known."""
        known = self.model_id and other.model_id
        return self.version == other.version and (not known or self.model_id == other.model_id)


@dataclass(frozen=True)
class Move:
    """One move of an alias, as it is on record.

    Attributes:
        name: the registered name.
        alias: what was moved.
        action: promotion and removal go forward, rollback goes back.
        before: what it stood for before; None if there was no such alias.
        after: what it stands for since; None if it was removed.
        who: the user's name on the machine that did it.
        when: in UTC.
        reason: in the words of who did it; may be empty.
        forced: whether a gate's refusal was overruled.
        verdict: what the gate said, see `modularizer.gate`; None if it wasn't asked.
        number: its place among the moves of this alias, from 1, which a wrong clock can't change;
            0 where it was not kept.
        run_id: MLflow's run that holds all this.
        is_done: whether the alias moved. Of a move that was interrupted or killed, the next one
            tells, which read where it stood; of the last one, where it stands.
    """

    name: str
    alias: str
    action: Action
    before: Stand | None
    after: Stand | None
    who: str
    when: datetime
    reason: str
    forced: bool
    verdict: Mapping[str, Any] | None
    number: int
    run_id: str
    is_done: bool


def with_what_happened(moves: Sequence[Move], now: Stand | None) -> list[Move]:
    """The same moves; those that did not end as they should, judged by what came after.

    Args:
        moves: all of one alias, the oldest first; ``is_done`` where they ended well.
        now: what it stands for; None if there is no such alias.
    """
    stood = [*(move.before for move in moves[1:]), now]
    return [
        move if move.is_done else replace(move, is_done=_is_same(move.after, later))
        for move, later in zip(moves, stood, strict=False)
    ]


def _is_same(one: Stand | None, other: Stand | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.is_same(other)


def trail(moves: Sequence[Move], now: Stand | None) -> list[Stand]:
    """The versions that an alias went forward through, to where it stands; each step back ends one.

    A version that somebody set without patchbay is part of it, as far as a later move tells.

    Args:
        moves: of one alias, the oldest first.
        now: what it stands for; None if there is no such alias.

    Returns:
        The last one is ``now`` unless that is None.
    """
    found: list[Stand] = []
    for move in moves:
        if move.is_done:
            _go_to(found, move.before)
            if move.action == "rollback":
                found[:] = _back_to(found, move.after)
            else:
                _go_to(found, move.after)
    _go_to(found, now)
    return found


def _go_to(found: list[Stand], stand: Stand | None) -> None:
    if stand is not None and not (found and found[-1].is_same(stand)):
        found.append(stand)


def _back_to(found: Sequence[Stand], stand: Stand | None) -> list[Stand]:
    if stand is None:
        return []
    # What lies between are versions that were deleted before the step back.
    for length in range(len(found) - 1, 0, -1):
        if found[length - 1].is_same(stand):
            return list(found[:length])
    return [stand]
