"""The folder that answers are kept in: what it is of, which parts are there, one writer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modularizer.whole_files import remove_unfinished, write_whole
from serving.errors import ScoringError
from serving.scoring.parts import Counts, metadata_of

# Readers of data sets leave out names that begin with an underscore or a dot.
STATE_FILE, LOCK_FILE = "_patchbay.json", "_patchbay.lock"

_PARTS = "part-*.parquet"
_AGAIN = "--restart begins anew, or name another folder"


def part_name(number: int) -> str:
    """The file name of a part, counted from 0."""
    return f"part-{number:05}.parquet"


class ScoredFolder:
    """Parts of answers to one list of images by one model, each written whole.

    Whoever writes holds a lock on `LOCK_FILE`.

    Args:
        path: the folder; `begin` makes it.
        task: everything that the answers depend on, as JSON values.

    Raises:
        ScoringError: if there is something else in the folder already.
    """

    def __init__(self, path: Path, task: Mapping[str, Any]) -> None:
        self.path = path
        self.task = task
        others = self._others()
        if others and not self._state.is_file():
            raise ScoringError(
                f"{path} holds {others[0]} and no {STATE_FILE}: it is no folder of answers; name "
                "an empty or a new one"
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the task: 64 hex digits. Each part says it."""
        return hashlib.sha256(json.dumps(self.task, sort_keys=True).encode()).hexdigest()

    def begin(self, *, restart: bool = False) -> bool:
        """Take up what is there, or begin.

        Args:
            restart: remove what is there.

        Returns:
            Whether something was there.

        Raises:
            ScoringError: if what is there is of another task.
        """
        for name in (STATE_FILE, _PARTS):
            remove_unfinished(self.path / name)
        if restart:
            for part in self.path.glob(_PARTS):
                part.unlink()
        elif self._state.exists():
            self._require_same_task()
            return True
        self._write_state(None)
        return False

    def has(self, number: int, rows: int) -> bool:
        """Whether a part is there.

        Args:
            number: of the part.
            rows: that it has if it is whole.

        Raises:
            ScoringError: if the file under its name is another one.
        """
        part = self.part(number)
        if not part.exists():
            return False
        found, told = metadata_of(part)
        if (found, told.get("task"), told.get("part")) != (rows, self.digest, str(number)):
            raise ScoringError(
                f"{part} is not the part that belongs there; remove it to have it made again"
            )
        return True

    def part(self, number: int) -> Path:
        """Where a part is."""
        return self.path / part_name(number)

    def finish(self, counts: Counts) -> None:
        """Say that all parts are there."""
        self._write_state(counts)

    @property
    def _state(self) -> Path:
        return self.path / STATE_FILE

    def _others(self) -> list[str]:
        """What is in the folder beside what a run leaves that was killed as it began."""
        if not self.path.is_dir():
            return []
        names = (one.name for one in self.path.iterdir())
        return sorted(name for name in names if not name.startswith((f".{STATE_FILE}.", LOCK_FILE)))

    def _write_state(self, counts: Counts | None) -> None:
        about = {
            "task": self.task,
            "complete": counts is not None,
            **({} if counts is None else asdict(counts)),
        }
        write_whole(self._state, (json.dumps(about, indent=1) + "\n").encode())

    def _require_same_task(self) -> None:
        try:
            there = dict(json.loads(self._state.read_bytes())["task"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ScoringError(f"{self._state} can't be read ({error}); {_AGAIN}") from error
        other = [
            f"{name.replace('_', ' ')}: {there.get(name)} then, {self.task.get(name)} now"
            for name in {**there, **self.task}
            if there.get(name) != self.task.get(name)
        ]
        if other:
            raise ScoringError(f"{self.path} is of something else ({'; '.join(other)}); {_AGAIN}")
