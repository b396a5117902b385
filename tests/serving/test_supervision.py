from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from serving.supervision import end_without_supervisor

WORKER = """
import time

from serving.supervision import end_without_supervisor

assert end_without_supervisor() is not None
print("up", flush=True)
time.sleep(600)
"""
SUPERVISOR = """
import subprocess
import sys

command = [sys.executable, "-m", "_bentoml_impl.worker.service"]
child = subprocess.Popen(command, start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""


def test_a_worker_ends_when_its_supervisor_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "_bentoml_impl" / "worker"
    folder.mkdir(parents=True)
    for package in (folder.parent, folder):
        (package / "__init__.py").touch()
    (folder / "service.py").write_text(WORKER)
    root = Path(__file__).parent.parent.parent
    path = os.pathsep.join([str(tmp_path), str(root)])
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert supervisor.stdout is not None
    worker = psutil.Process(int(supervisor.stdout.readline()))
    assert supervisor.stdout.readline() == "up\n"
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    worker.wait(60)
    supervisor.stdout.close()


def test_another_process_is_let_be() -> None:
    assert end_without_supervisor() is None
