from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic, sleep

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


def spent(tree: ProcessTree) -> float:
    """Processor seconds in a quarter of a second, once what was asked for has come about."""
    sleep(0.05)
    before = tree.cpu_seconds()
    sleep(0.25)
    return tree.cpu_seconds() - before


def test_who_is_paused_takes_nothing_until_it_is_asked(tree: ProcessTree) -> None:
    assert spent(tree) > 0.1
    tree.pause()
    assert spent(tree) == 0
    with tree.awake():
        assert spent(tree) > 0.1
    assert spent(tree) == 0
    with pytest.raises(ZeroDivisionError), tree.awake():
        _ = 1 / 0
    assert spent(tree) == 0
    tree.resume()
    assert spent(tree) > 0.1


def test_who_is_not_paused_stays_so(tree: ProcessTree) -> None:
    with tree.awake():
        assert spent(tree) > 0.1
    assert spent(tree) > 0.1


def test_who_is_paused_goes_on_before_its_end(tree: ProcessTree) -> None:
    with suppress(ZeroDivisionError), tree.resumed_at_the_end():
        tree.pause()
        _ = 1 / 0
    assert spent(tree) > 0.1


def test_one_that_has_ended_can_be_paused_and_resumed() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    tree = ProcessTree(process.pid)
    process.wait()
    tree.pause()
    tree.resume()
