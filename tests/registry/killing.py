"""Processes that are killed (SIGKILL) at a chosen step of what changes a registry.

Importing torch and MLflow costs seconds, so that one process does it once and a fork of it is
killed for each case. ``python -m tests.registry.killing`` reads ``HOME ACTION STEP COUNT ARGUMENT``
on each line of stdin, and answers with the signal that ended the fork, or 0.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO

from registry.registry import Registry
from registry.steps import Step
from tests.registry.conftest import make_decomposition, make_patched
from tests.registry.store.test_diagnoses import make_record


@dataclass(frozen=True)
class Killer:
    """The process that forks."""

    stdin: IO[str]
    stdout: IO[str]

    def kill_at(self, home: Path, action: str, step: Step, count: int, argument: str) -> int:
        """The signal by which a process ended that was to be killed at a step's nth time.

        Of the action "create" no step is told; count is milliseconds from when MLflow begins.
        """
        words = (str(home), action, step.name, str(count), argument)
        self.stdin.write(shlex.join(words) + "\n")
        self.stdin.flush()
        return int(self.stdout.readline())


@contextmanager
def killer() -> Iterator[Killer]:
    """Start the process that forks, and end it."""
    command = [sys.executable, "-m", "tests.registry.killing"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Killer(process.stdin, process.stdout)
        finally:
            process.stdin.close()
            process.wait(60)


def act(home: str, action: str, step: str, count: str, argument: str) -> None:
    """Do the action, and be killed at that step's nth time."""
    if action == "create":
        Thread(target=_kill_after, args=(int(count) / 1000, Path(home))).start()
        Registry.open(home)
        time.sleep(60)
    left = int(count)

    def on_step(done: Step) -> None:
        nonlocal left
        left -= done is Step[step]
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    registry = Registry.open(home, on_step=on_step)
    if action == "decompose":
        strong = registry.load_classifier(argument)
        name = registry.find(argument).name
        registry.add_decomposition(make_decomposition(name, strong), strong_uri=argument)
    elif action == "diagnose":
        registry.add_diagnosis(make_record(argument))
    elif action == "patch":
        name, *parts = argument.split()
        registry.add_patched(make_patched(name, *parts))
    elif action == "import":
        registry.exchange.import_archive(Path(argument))
    elif action == "delete":
        registry.delete(argument, drop_aliases=True, reason="not needed")
    elif action == "promote":
        registry.aliases.promote(argument, "champion", reason="a better one")
    else:
        assert action == "rollback"
        registry.aliases.rollback(argument, "champion")


def _kill_after(seconds: float, home: Path) -> None:
    """End this process so long after MLflow began to make the database."""
    while not list(home.glob("mlflow.db*")):
        time.sleep(0.001)
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def _in_a_fork(line: str) -> int:
    child = os.fork()
    if child == 0:
        try:
            act(*shlex.split(line))
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


if __name__ == "__main__":
    import mlflow  # noqa: F401

    for line in sys.stdin:
        sys.stdout.write(f"{_in_a_fork(line)}\n")
        sys.stdout.flush()
