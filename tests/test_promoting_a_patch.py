"""The page from a weak class to a promoted patch, run line by line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.patchbay.running import Ran, run_command

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "promoting-a-patch.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]
CODE = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def run_line(line: str) -> Ran:
    """Run a line; the exit code is the one in its comment, else 0."""
    command, _, comment = line.partition("  # ")
    program, *arguments = shlex.split(command)
    if program == "export":
        name, _, value = arguments[0].partition("=")
        os.environ[name] = value
        return Ran(0, "", "")
    assert program == "patchbay"
    ran = run_command(*arguments)
    expected = int(comment.removeprefix("exit code ")) if comment else 0
    assert ran.code == expected, f"{line}: {ran.out}{ran.err}"
    return ran


def run_code(code: str, folder: Path) -> str:
    """What the page's Python prints, as whoever copies it would see."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow  # trains two networks, and searches
def test_every_line_of_the_page_does_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("PATCHBAY_CACHE", raising=False)
    monkeypatch.setenv("PATCHBAY_HOME", "set by the page, and set back by this")
    said = {line: run_line(line) for line in LINES}

    def told(start: str) -> str:
        return next(ran.out + ran.err for line, ran in said.items() if line.startswith(start))

    assert "8       * patch" in told("patchbay diagnose")
    assert "Next, for 8: patchbay recommend models:/weak/1 --data digits" in told(
        "patchbay diagnose"
    )
    recommended = told("patchbay recommend")
    assert "--with models:/strong.8/1" in recommended
    assert "strong.4/1" in recommended
    refused = told("patchbay promote models:/fixed/1 --data")
    assert "Refused: the other classes lose" in refused
    assert "models:/fixed@champion stays unset" in refused
    assert "models:/fixed@champion is now models:/fixed/2" in told(
        "patchbay promote models:/fixed/2"
    )
    forced = told("patchbay promote models:/fixed/1 --force")
    assert "F1 of 4, patched by the one in use alone" in forced
    assert "Refused: class 4, patched by the one in use alone, loses" in forced
    assert "from models:/fixed/2" in forced
    assert "is models:/fixed/2 again" in told("patchbay rollback")
    last = run_command("history", "fixed", "--json").json
    assert [(one["action"], one["before"], one["after"]) for one in last] == [
        ("promotion", None, 2),
        ("promotion", 2, 1),
        ("rollback", 1, 2),
    ]
    assert "is part of models:/fixed/" in told("patchbay delete models:/weak/1")
    assert "Nothing is left over." in told("patchbay check")
    for line in ("patchbay export", "patchbay import"):
        assert "4 versions" in told(line)
    elsewhere = run_command("check", "--home", "elsewhere", "--json").json
    assert (elsewhere["versions"], elsewhere["broken"]) == (4, [])
    assert (tmp_path / "fixed-pyfunc" / "MLmodel").is_file()
    Image.new("L", (8, 8)).save(tmp_path / "sample.png")
    header, row, *_, size = run_code(CODE[0], tmp_path).strip().splitlines()
    assert (header.split()[0], header.split()[-1]) == ("label", "error")
    assert row.split()[1] in ("6", "7", "8", "9", "4")
    assert size == "[1 rows x 7 columns]"


def test_the_page_is_all_there() -> None:
    assert len(LINES) >= 18
    assert all(line.startswith("patchbay ") for line in LINES[1:])
    assert len(CODE) == 1
