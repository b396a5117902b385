"""Moves of aliases as MLflow runs, which hold who, when, why and the evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from heapq import merge
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from registry.errors import RegistryError
from registry.history import ACTIONS, Action, Move, Stand, with_what_happened
from registry.model_page import code, link
from registry.steps import Step
from registry.store.client import Store, error_code, pages
from registry.store.runs import MAX_RUN_TAG_LENGTH, NOTE_TAG, run_log
from registry.version import TAG_PREFIX, UnreadVersion, Version

_STEP, _NAME, _ALIAS = (f"{TAG_PREFIX}{key}" for key in ("step", "name", "alias"))
_REASON, _FORCED, _VERDICT, _NUMBER = (
    f"{TAG_PREFIX}{key}" for key in ("reason", "forced", "verdict", "move_number")
)
_BEFORE, _AFTER = f"{TAG_PREFIX}before", f"{TAG_PREFIX}after"
_MODEL = "_model"  # behind those two: the LoggedModel
_MAX_REASON_LENGTH = 5000  # MLflow takes 8,000 of a tag
VERDICT_FILE = "verdict.json"


@contextmanager
def recorded_move(
    store: Store,
    action: Action,
    alias: str,
    *,
    before: Version | UnreadVersion | None,
    after: Version | None,
    reason: str = "",
    forced: bool = False,
    verdict: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    """A run around the move itself: what is to be done is on record before it is.

    Args:
        store: an open store.
        action: what kind of move.
        alias: what moves.
        before: where it stands; None if there is no such alias.
        after: where it will stand; None to remove it. One of both is given.
        reason: in the words of who does it.
        forced: whether a refusal was overruled.
        verdict: the gate's, as JSON values.

    Raises:
        RegistryError: if the reason is too long, or no text.
    """
    _require_text(reason)
    version = after or before
    assert isinstance(version, Version)  # what is taken away was read
    earlier = list_moves(store, version.name, alias)
    tags = {
        _NAME: version.name,
        _ALIAS: alias,
        **_stand_tags(_BEFORE, before),
        **_stand_tags(_AFTER, after),
        _NUMBER: str(1 + max((move.number for move in earlier), default=0)),
        _REASON: reason,
        _FORCED: json.dumps(forced),
        NOTE_TAG: _told(action, alias, before, after, reason, forced=forced, verdict=verdict),
    }
    if verdict is not None:
        tags[_VERDICT] = _summary(verdict)
    with run_log(store, f"{version.name}@{alias}", version.kind, action, tags) as run:
        if verdict is not None:
            with TemporaryDirectory(prefix="patchbay-") as temporary:
                file = Path(temporary, VERDICT_FILE)
                file.write_text(json.dumps(verdict, indent=2))
                run.upload_files([file])
        run.log_lineage(inputs=_read(before, after), outputs=[])
        store.on_step(Step.MOVE_RECORDED)
        yield
        store.on_step(Step.MOVED)


def list_moves(store: Store, name: str, alias: str | None = None) -> list[Move]:
    """Moves of a name's aliases, the oldest first.

    Args:
        store: an open store.
        name: registered.
        alias: of this one alone.
    """
    wanted = f"tags.`{_NAME}` = '{name}'"
    if alias is not None:
        wanted += f" and tags.`{_ALIAS}` = '{alias}'"
    runs = pages(
        store.client.search_runs,
        experiment_ids=[store.experiment_id],
        filter_string=wanted,
    )
    moves = [move for run in runs if (move := move_of(run)) is not None]
    # In one alias's order by number, and among aliases by time: clocks may differ.
    moves.sort(key=lambda move: (move.alias, move.number, move.when))
    now = {} if all(move.is_done for move in moves) else _standing(store, name)
    by_alias = [
        with_what_happened(list(of_one), now.get(alias))
        for alias, of_one in groupby(moves, key=lambda move: move.alias)
    ]
    return list(merge(*by_alias, key=lambda move: move.when))


def _standing(store: Store, name: str) -> dict[str, Stand]:
    from mlflow.exceptions import MlflowException

    try:
        found = store.client.get_registered_model(name).aliases
    except MlflowException as error:
        if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}
    return {alias: Stand(int(number)) for alias, number in found.items()}


def move_of(run: Any) -> Move | None:
    """What an MLflow run says of a move; None if it is the run of something else."""
    tags = run.data.tags
    if tags.get(_STEP) not in ACTIONS:
        return None
    return Move(
        name=tags.get(_NAME, ""),
        alias=tags.get(_ALIAS, ""),
        action=next(action for action in ACTIONS if action == tags[_STEP]),
        before=_stand(tags, _BEFORE),
        after=_stand(tags, _AFTER),
        who=tags.get("mlflow.user", "unknown"),
        when=_when(run.info.start_time),
        reason=tags.get(_REASON, ""),
        forced=tags.get(_FORCED) == "true",
        verdict=_parsed(tags.get(_VERDICT, "")),
        number=_number(tags.get(_NUMBER)) or 0,
        run_id=run.info.run_id,
        is_done=run.info.status == "FINISHED",  # else `with_what_happened` tells
    )


def _told(
    action: Action,
    alias: str,
    before: Version | UnreadVersion | None,
    after: Version | None,
    reason: str,
    *,
    forced: bool,
    verdict: Mapping[str, Any] | None,
) -> str:
    """The move in Markdown."""
    shown = [link(one.uri) if one else "none" for one in (before, after)]
    told = f"{action.capitalize()} of {code(f'@{alias}')}: from {shown[0]} to {shown[1]}."
    if reason:
        told += f"\n\nReason: {code(reason, most=1000)}"
    if verdict is not None:
        said = "passed" if verdict.get("passed") else "refused"
        told += f"\n\nThe gate: {said}{', overruled' if forced else ''}; see {VERDICT_FILE}."
    return told


def _read(*versions: Version | UnreadVersion | None) -> list[str]:
    """The LoggedModels of those versions that can be read."""
    return [one.model_id for one in versions if isinstance(one, Version)]


def _require_text(reason: str) -> None:
    if len(reason) > _MAX_REASON_LENGTH:
        raise RegistryError(
            f"a reason has at most {_MAX_REASON_LENGTH} characters, found {len(reason)}"
        )
    if odd := next((c for c in reason if not (c.isprintable() or c in "\n\t")), None):
        raise RegistryError(f"a reason is text, found the character {odd!r}")


def _summary(verdict: Mapping[str, Any]) -> str:
    """As much of a verdict as a tag holds; its file holds all of it."""
    whole = json.dumps(verdict)
    if len(whole) <= MAX_RUN_TAG_LENGTH:
        return whole
    most = {key: verdict.get(key) for key in ("passed", "basis", "compared_with")}
    reasons = [str(reason)[:300] for reason in verdict.get("reasons", ())]
    return json.dumps({**most, "reasons": reasons[:10], "whole_in": VERDICT_FILE})


def _when(milliseconds: int) -> datetime:
    """A time that anyone may have written; 1970 for one that is none."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _stand_tags(key: str, version: Version | UnreadVersion | None) -> dict[str, str]:
    return {
        key: "" if version is None else str(version.version),
        f"{key}{_MODEL}": version.model_id if isinstance(version, Version) else "",
    }


def _stand(tags: Mapping[str, str], key: str) -> Stand | None:
    version = _number(tags.get(key))
    return None if version is None else Stand(version, tags.get(f"{key}{_MODEL}", ""))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _parsed(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
