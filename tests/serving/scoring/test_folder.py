from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serving.errors import ScoringError
from serving.scoring.folder import LOCK_FILE, STATE_FILE, ScoredFolder, part_name
from serving.scoring.parts import Counts

TASK: dict[str, Any] = {"model": "models:/a/1", "images": 3}


def begun(path: Path, task: dict[str, Any] = TASK, *, restart: bool = False) -> bool:
    path.mkdir(exist_ok=True)
    return ScoredFolder(path, task).begin(restart=restart)


def test_what_was_begun_is_taken_up(tmp_path: Path) -> None:
    assert not begun(tmp_path)
    assert begun(tmp_path)
    assert json.loads((tmp_path / STATE_FILE).read_text()) == {"task": TASK, "complete": False}
    ScoredFolder(tmp_path, TASK).finish(Counts(3, 1, 2))
    assert json.loads((tmp_path / STATE_FILE).read_text()) == {
        "task": TASK, "complete": True, "images": 3, "unreadable": 1, "changed": 2,
    }  # fmt: skip
    assert begun(tmp_path)


def test_another_task_is_refused_with_what_differs(tmp_path: Path) -> None:
    begun(tmp_path)
    other = {"model": "models:/b/2", "images": 3}
    expected = r"something else \(model: models:/a/1 then, models:/b/2 now\); --restart"
    with pytest.raises(ScoringError, match=expected):
        begun(tmp_path, other)
    assert not begun(tmp_path, other, restart=True)
    assert begun(tmp_path, other)


def test_restarting_removes_parts_and_nothing_else(tmp_path: Path) -> None:
    begun(tmp_path)
    (tmp_path / part_name(0)).write_bytes(b"a part")
    (tmp_path / f".{part_name(1)}.77.tmp").write_bytes(b"half a part")
    (tmp_path / "notes.txt").write_text("mine")
    begun(tmp_path, restart=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == [STATE_FILE, "notes.txt"]


@pytest.mark.parametrize("restart", [False, True])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, restart: bool) -> None:
    (tmp_path / part_name(0)).write_bytes(b"somebody's own")
    with pytest.raises(ScoringError, match="no folder of answers"):
        begun(tmp_path, restart=restart)
    assert [one.name for one in tmp_path.iterdir()] == [part_name(0)]


def test_what_a_run_leaves_that_was_killed_as_it_began_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).touch()
    (tmp_path / f".{STATE_FILE}.77.tmp").write_bytes(b"{")
    assert not begun(tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == [STATE_FILE, LOCK_FILE]


@pytest.mark.parametrize("state", ["", "[]", '{"task": 3}', "[" * 100_000])
def test_a_broken_state_is_refused_until_it_is_restarted(tmp_path: Path, state: str) -> None:
    (tmp_path / STATE_FILE).write_text(state)
    with pytest.raises(ScoringError, match=r"can't be read.*--restart"):
        begun(tmp_path)
    assert not begun(tmp_path, restart=True)
