"""The lines of the page on packaging that can't be run without a Docker engine or a cluster."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from tests.deploy.known import PAGE, ROOT

LINES = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in block.splitlines()
]


def of(program: str) -> list[str]:
    return [line for line in LINES if line.startswith(f"{program} ")]


def test_every_line_is_of_a_program_that_is_looked_at_here() -> None:
    looked_at = ("uv", "bentoml", "docker", "echo", "patchbay", "kubectl", "export")
    assert {line.split()[0] for line in LINES} == set(looked_at)


@pytest.mark.parametrize("line", of("patchbay") + of("bentoml"))
def test_options_are_options_of_their_command(line: str) -> None:
    program, command, *arguments = shlex.split(line)
    asked = [sys.executable, "-m", program, command, "--help"]
    ran = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    known = set(re.findall(r"--[a-z-]+", ran.stdout))
    assert {one for one in arguments if one.startswith("--")} <= known


@pytest.mark.parametrize("line", of("docker") + of("kubectl"))
def test_files_that_are_named_are_there(line: str) -> None:
    for name in re.findall(r"--file(?:name)? (\S+)", line):
        assert (ROOT / name).is_file()


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)(?:#\S+)?\)", PAGE))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / "docs" / target).exists()
