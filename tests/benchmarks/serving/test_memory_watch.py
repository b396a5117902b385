from __future__ import annotations

import os
from time import monotonic, sleep

from benchmarks.serving.memory_watch import MemoryWatch
from benchmarks.serving.process_tree import ProcessTree


def wait_for_looks(watch: MemoryWatch, looks: int) -> None:
    deadline = monotonic() + 60
    while len(watch.seen) < looks:
        assert monotonic() < deadline
        sleep(0.01)


def test_what_a_process_takes_meanwhile_is_seen() -> None:
    with MemoryWatch(ProcessTree(os.getpid()), pause_seconds=0.02) as watch:
        wait_for_looks(watch, 3)
        held = bytes(64 * 2**20) * 2  # copied, so that it is really there
        wait_for_looks(watch, len(watch.seen) + 3)
    (_, first), *_, (seconds, last) = watch.seen
    assert last - first > 0.9 * len(held) / 2**20
    assert seconds > 0.08
