"""A process that stands still at a chosen moment, however fast the machine is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CODE = """
import os, pkgutil, signal, sys

owner, name, times = sys.argv.pop(1), sys.argv.pop(1), int(sys.argv.pop(1))
owner = pkgutil.resolve_name(owner)
function, calls = getattr(owner, name), []


def held(*args, **named):
    found = function(*args, **named)
    calls.append(name)
    if len(calls) == times:
        os.kill(os.getpid(), signal.SIGSTOP)
    return found


setattr(owner, name, held)
"""

COMMAND = "from patchbay.__main__ import main; main()"
"""The program ``patchbay``."""


@contextmanager
def held_process(
    *arguments: str, owner: str, function: str, times: int = 1, program: str = COMMAND
) -> Iterator[subprocess.Popen[str]]:
    """Run a program until it has called a function so often; it stands still there.

    A signal that it is sent is met when it goes on (SIGCONT); SIGKILL at once.

    Args:
        arguments: of the program.
        owner: the module or class that has the function: ``package.module:Class``.
        function: its name.
        times: how often.
        program: Python code.
    """
    process = subprocess.Popen(
        [
            *(sys.executable, "-W", "ignore", "-c", _CODE + program),
            *(owner, function, str(times), *arguments),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                process.returncode = os.waitstatus_to_exitcode(status)
                raise AssertionError(f"ended by itself: {process.communicate()}")
            yield process
        finally:
            process.kill()
