from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic, sleep

import psutil  # type: ignore[import-untyped]
import pytest

from benchmarks.serving.process_tree import ProcessTree

BUSY = "while True: pass"
PARENT = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {BUSY!r}])\n{BUSY}"


@pytest.fixture
def tree() -> Iterator[ProcessTree]:
    """A process and its child, both at work."""
    process = subprocess.Popen([sys.executable, "-c", PARENT])
    tree = ProcessTree(process.pid)
    try:
        deadline = monotonic() + 30
        while not tree.children() or tree.cpu_seconds() < 0.3:
            assert monotonic() < deadline
            sleep(0.02)
        yield tree
    finally:
        for child in tree.children():
            child.kill()
        process.kill()
        process.wait()


def is_at_work(tree: ProcessTree) -> bool:
    """Whether both come to take processor time."""
    before, deadline = tree.cpu_seconds(), monotonic() + 60
    while tree.cpu_seconds() < before + 0.05:
        if monotonic() > deadline:
            return False
        sleep(0.01)
    return True


def is_paused(tree: ProcessTree) -> bool:
    """Whether all of them come to stand still, and take nothing then."""
    processes, deadline = [psutil.Process(tree.pid), *tree.children()], monotonic() + 60
    while any(one.status() != psutil.STATUS_STOPPED for one in processes):
        if monotonic() > deadline:
            return False
        sleep(0.01)
    before = tree.cpu_seconds()
    sleep(0.25)
    return tree.cpu_seconds() == before


def test_who_is_paused_takes_nothing_until_it_is_asked(tree: ProcessTree) -> None:
    assert is_at_work(tree)
    tree.pause()
    assert is_paused(tree)
    with tree.awake():
        assert is_at_work(tree)
    assert is_paused(tree)
    with pytest.raises(ZeroDivisionError), tree.awake():
        _ = 1 / 0
    assert is_paused(tree)
    tree.resume()
    assert is_at_work(tree)


def test_who_is_not_paused_stays_so(tree: ProcessTree) -> None:
    with tree.awake():
        assert is_at_work(tree)
    assert is_at_work(tree)


def test_who_is_paused_goes_on_before_its_end(tree: ProcessTree) -> None:
    with suppress(ZeroDivisionError), tree.resumed_at_the_end():
        tree.pause()
        _ = 1 / 0
    assert is_at_work(tree)


def test_one_that_has_ended_can_be_paused_and_resumed() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    tree = ProcessTree(process.pid)
    process.wait()
    tree.pause()
    tree.resume()
