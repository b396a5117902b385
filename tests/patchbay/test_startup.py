"""The program as a process: it starts fast, stops cleanly and imports late."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.patchbay.running import run_command

PATCHBAY = Path(sys.executable).with_name("patchbay")
COMMANDS = (
    *("demo", "train", "modularize", "diagnose", "recommend", "patch", "evaluate", "predict"),
    *("list", "show", "promote", "rollback", "history", "delete", "check"),
    *("export", "import", "serve", "bench"),
)


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_answers_within_a_second(command: str | None) -> None:
    arguments = [str(PATCHBAY), *([command] if command else []), "--help"]
    before = os.times()
    shown = subprocess.run(arguments, capture_output=True, text=True, check=True)
    after = os.times()
    assert "Usage: patchbay" in shown.stdout
    # Of its own processor time: other work on the machine is not its fault.
    spent = after.children_user - before.children_user
    assert spent + after.children_system - before.children_system < 1


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = ("torch", "torchvision", "mlflow", "bentoml", "numpy", "sklearn", "fvcore", "httpx")
    code = f"import sys, patchbay.main; print(sorted({{*{heavy}}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_ctrl_c_while_training_ends_with_one_message_and_registers_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [
        *(str(PATCHBAY), "train", "long", "--data", "digits", "--epochs", "100000"),
        *("--argument", "stages=[[8],[16]]", "--argument", "hidden=[16]", "--home", str(home)),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = monotonic() + 120
        while not (home / "mlflow.db").exists() and monotonic() < deadline:
            sleep(0.2)
        sleep(4)  # into the epochs
        while process.poll() is None and monotonic() < deadline:
            process.send_signal(signal.SIGINT)  # again after a while: an import may swallow one
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
        process.kill()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "patchbay: stopped" in err
    assert run_command("list", "--json", "--home", str(home)).json == []


def test_ctrl_c_in_a_callback_of_the_garbage_collector_is_not_lost() -> None:
    code = (
        "import os, signal, time, weakref\n"
        "import patchbay.main\n"
        "class Anything: pass\n"
        "def run():\n"
        "    thing = Anything()\n"
        "    reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))\n"
        "    del thing\n"
        "    time.sleep(20)\n"
        "patchbay.main.main = run\n"
        "from patchbay.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=15, check=False
    )
    assert (done.returncode, done.stderr) == (130, "")
