from __future__ import annotations

import os
import subprocess
import sys

import pytest

from registry import owner
from registry.owner import is_gone, this_process


def test_this_process_is_not_gone() -> None:
    assert is_gone(this_process()) is False


def test_another_process_is_there_until_it_ends() -> None:
    code = "from registry.owner import this_process; print(this_process(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        other = process.stdout.readline().strip()
        assert other != this_process()
        assert is_gone(other) is False
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
        assert is_gone(other) is True
        process.wait()
    assert is_gone(other) is True


def test_a_process_that_has_the_same_number_is_another_one() -> None:
    host, pid, started = this_process().split("/")
    assert is_gone(f"{host}/{pid}/{int(started) - 1}") is True


def test_a_fork_is_another_process() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, this_process().encode())
        os._exit(0)
    os.waitpid(child, 0)
    forked = os.read(reader, 200).decode()
    os.close(reader)
    os.close(writer)
    assert forked != this_process()
    assert is_gone(forked) is True


@pytest.mark.parametrize("elsewhere", ["elsewhere/1/1", "", "x", "a/b/c", "../../etc", "h/1"])
def test_a_process_on_another_machine_is_not_known(elsewhere: str) -> None:
    assert is_gone(elsewhere) is None


def test_a_process_that_is_hidden_from_us_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    # /proc is mounted with hidepid on some machines, which a test can't do to this one.
    def refuse(pid: int, signal: int) -> None:
        raise PermissionError(pid, signal)

    me = this_process()
    monkeypatch.setattr(owner, "_started", lambda pid: 0)
    assert is_gone(me) is True
    monkeypatch.setattr(os, "kill", refuse)
    assert is_gone(me) is None
