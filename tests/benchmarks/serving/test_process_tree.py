from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from time import sleep

import psutil  # type: ignore[import-untyped]
import pytest

from benchmarks.serving.process_tree import ProcessTree
from tests.waiting import wait_until

BUSY = "while True: pass"
PARENT = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {BUSY!r}])\n{BUSY}"


@pytest.fixture
def tree() -> Iterator[ProcessTree]:
    """A process and its child, both at work."""
    process = subprocess.Popen([sys.executable, "-c", PARENT])
    tree = ProcessTree(process.pid)
    try:
        wait_until(lambda: bool(tree.children()) and tree.cpu_seconds() > 0.3)
        yield tree
    finally:
        for child in tree.children():
            child.kill()
        process.kill()
        process.wait()


def require_work(tree: ProcessTree) -> None:
    """Each of the two comes to take processor time."""
    for process in (psutil.Process(tree.pid), *tree.children()):
        before = process.cpu_times().user
        wait_until(lambda: process.cpu_times().user > before + 0.05)  # noqa: B023 - called at once


def require_pause(tree: ProcessTree) -> None:
    """Both come to stand still, and take nothing then."""
    processes = [psutil.Process(tree.pid), *tree.children()]
    wait_until(lambda: all(one.status() == psutil.STATUS_STOPPED for one in processes))
    before = tree.cpu_seconds()
    sleep(0.25)
    assert tree.cpu_seconds() == before


def test_who_is_paused_takes_nothing_until_it_is_asked(tree: ProcessTree) -> None:
    require_work(tree)
    tree.pause()
    require_pause(tree)
    with tree.awake():
        require_work(tree)
    require_pause(tree)
    with pytest.raises(ZeroDivisionError), tree.awake():
        _ = 1 / 0
    require_pause(tree)
    tree.resume()
    require_work(tree)


def test_who_is_not_paused_stays_so(tree: ProcessTree) -> None:
    with tree.awake():
        require_work(tree)
    require_work(tree)


def test_who_is_paused_goes_on_before_its_end(tree: ProcessTree) -> None:
    with suppress(ZeroDivisionError), tree.resumed_at_the_end():
        tree.pause()
        _ = 1 / 0
    require_work(tree)


def test_one_that_has_ended_can_be_paused_and_resumed() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    tree = ProcessTree(process.pid)
    process.wait()
    tree.pause()
    tree.resume()
