from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from registry.scratch import abandoned, scratch_folder


def test_a_folder_is_there_as_long_as_it_is_needed(tmp_path: Path) -> None:
    root = tmp_path / "scratch"
    with scratch_folder(root) as folder:
        assert folder.parent == root
        assert list(folder.iterdir()) == []
        (folder / "inside").mkdir()
        assert abandoned(root) == []
    assert list(root.iterdir()) == []


def test_it_goes_when_an_error_passes_through(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_found(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from registry.scratch import scratch_folder\n"
        "with scratch_folder(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    (tmp_path / "somebody-else's").mkdir()
    assert abandoned(tmp_path) == [left]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert abandoned(tmp_path / "none") == []


def test_where_nothing_can_be_written_the_systems_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with scratch_folder(tmp_path / "file" / "below") as folder:
        assert folder.is_dir()
        assert os.access(folder, os.W_OK)
    assert not folder.exists()
