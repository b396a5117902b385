"""The program as a process: it starts fast, stops cleanly and imports late."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.holding import held_process
from tests.patchbay.running import NET, run_command

PATCHBAY = Path(sys.executable).with_name("patchbay")
COMMANDS = (
    *("demo", "train", "modularize", "diagnose", "recommend", "patch", "evaluate", "predict"),
    *("list", "show", "promote", "rollback", "history", "delete", "check"),
    *("export", "import", "serve", "bench"),
)


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_every_command_has_help(command: str | None) -> None:
    shown, _ = shown_help(command)
    assert "Usage: patchbay" in shown


@pytest.mark.timed
@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_answers_within_a_second(command: str | None) -> None:
    assert any(shown_help(command)[1] < 1 for _ in range(3))


def shown_help(command: str | None) -> tuple[str, float]:
    """What ``--help`` says, and the seconds of its own processor time that it took."""
    arguments = [str(PATCHBAY), *([command] if command else []), "--help"]
    before = os.times()
    shown = subprocess.run(arguments, capture_output=True, text=True, check=True)
    after = os.times()
    spent = after.children_user - before.children_user
    return shown.stdout, spent + after.children_system - before.children_system


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = ("torch", "torchvision", "mlflow", "bentoml", "numpy", "sklearn", "fvcore", "httpx")
    code = f"import sys, patchbay.main; print(sorted({{*{heavy}}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_ctrl_c_while_training_ends_with_one_message_and_registers_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = ("train", "long", "--data", "digits", "--epochs", "100000", *NET, "--home", str(home))
    with held_process(
        *command, owner="modularizer.epochs:Epochs", function="advance", times=3
    ) as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=300)
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
        "    time.sleep(600)\n"
        "patchbay.main.main = run\n"
        "from patchbay.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (130, "")
