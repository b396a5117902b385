from __future__ import annotations

import os
import subprocess
import sys

import pytest

from registry.owner import is_gone, this_process


def test_this_process_is_not_gone() -> None:
    assert is_gone(this_process()) is False


def test_another_process_is_there_until_it_ends() -> None:
    code = "from registry.owner import this_process; print(this_process(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        owner = process.stdout.readline().strip()
        assert owner != this_process()
        assert is_gone(owner) is False
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
        assert is_gone(owner) is True
        process.wait()
    assert is_gone(owner) is True


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
    owner = os.read(reader, 200).decode()
    os.close(reader)
    os.close(writer)
    assert owner != this_process()
    assert is_gone(owner) is True


@pytest.mark.parametrize("owner", ["elsewhere/1/1", "", "x", "a/b/c", "../../etc", "h/1"])
def test_a_process_on_another_machine_is_not_known(owner: str) -> None:
    assert is_gone(owner) is None
