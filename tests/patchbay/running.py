"""Running the commands in this process, and what a small registry made by them holds."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchbay.main import main

NET = (
    *("--argument", "stages=[[8],[16]]"),
    *("--argument", "hidden=[16]"),
)
QUICK = ("--epochs", "6", "--batch-size", "32", "--learning-rate", "0.05")


@dataclass(frozen=True)
class Ran:
    """What a command left behind: exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run_command(*arguments: str) -> Ran:
    """Run ``patchbay`` with these arguments in this process, as the script would."""
    import contextlib
    import io

    out, err = io.StringIO(), io.StringIO()
    before, handler = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["patchbay", *arguments]
    code = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    finally:
        sys.argv = before
        signal.signal(signal.SIGTERM, handler)
    return Ran(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Shop:
    """A registry with a strong model, its modules, a weak model and a patched one."""

    home: Path
    strong: str
    modules: dict[str, str]
    weak: str
    patched: str

    def run(self, command: str, *arguments: str) -> Ran:
        return run_command(command, *arguments, "--home", str(self.home))
