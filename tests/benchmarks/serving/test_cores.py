from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

from benchmarks.serving.cores import Cores, choose_cores, on_core
from benchmarks.serving.peers import mlflow_server
from benchmarks.serving.process_tree import ProcessTree
from serving.errors import LaunchError

ASK = "import os; print(*os.sched_getaffinity(0))"


def test_a_child_stays_on_its_core_and_this_thread_gets_its_own_back() -> None:
    cores, before = choose_cores(), os.sched_getaffinity(0)
    for core in (cores.service, cores.load):
        with on_core(core):
            told = subprocess.run([sys.executable, "-c", ASK], capture_output=True, check=True)
        assert told.stdout.split() == [str(core).encode()]
        assert os.sched_getaffinity(0) == before
    with pytest.raises(ZeroDivisionError), on_core(cores.load):
        _ = 1 / 0
    assert os.sched_getaffinity(0) == before
    with on_core(None):
        assert os.sched_getaffinity(0) == before


def test_one_core_is_shared_and_said_so() -> None:
    [core, *_] = os.sched_getaffinity(0)
    with on_core(core):
        assert choose_cores() == Cores(core, core)
        assert choose_cores().are_shared
    assert not Cores(1, 0).are_shared


def test_a_tree_counts_its_children_too() -> None:
    work = "import time\nb = bytearray(50_000_000)\nwhile time.process_time() < 0.5: pass\n"
    code = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {work + 'time.sleep(60)'!r}])\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    tree = ProcessTree(process.pid)
    try:
        deadline = monotonic() + 30
        while tree.cpu_seconds() < 0.5 and monotonic() < deadline:
            sleep(0.05)
        assert 0.5 <= tree.cpu_seconds() < 5
        assert 50 < tree.rss_mib() < 300
    finally:
        for child in tree.children():
            child.kill()
        process.kill()
        process.wait()


def test_a_server_that_does_not_start_is_told_with_its_log(tmp_path: Path) -> None:
    with (
        pytest.raises(LaunchError, match=r"did not become ready(.|\n)*nothing-here"),
        mlflow_server(tmp_path / "nothing-here", tmp_path / "scratch", core=None),
    ):
        pass
