"""The README names commands, options and files that are there, and its path works as written."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import click
import pytest

from patchbay.main import commands
from serving.launch import free_port, stop

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent


def documented_lines() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("patchbay ")]


def test_every_command_is_in_the_readme_and_no_other() -> None:
    named = set()
    for line in documented_lines():
        words = line.removeprefix("patchbay ").replace("|", " ").split()
        named |= {word for word in words if word in commands.commands}
        assert words[0] in commands.commands, line
    assert named | {"demo"} == set(commands.commands)


@pytest.mark.parametrize("line", documented_lines())
def test_options_in_the_readme_are_options_of_their_command(line: str) -> None:
    command: click.Command = commands
    for word in line.split()[1:]:
        if isinstance(command, click.Group) and word in command.commands:
            command = command.commands[word]
    known = {name for parameter in command.params for name in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", line)) <= known


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_in_the_readme_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("target", re.findall(r"^  make ([a-z]+)|`make ([a-z]+)`", README))
def test_make_targets_in_the_readme_exist(target: tuple[str, str]) -> None:
    assert f"\n{''.join(target)}:" in (ROOT / "Makefile").read_text()


@pytest.mark.slow  # trains two networks and searches twenty generations
def test_the_example_in_the_readme_runs_as_written(tmp_path: Path) -> None:
    example = [line for line in documented_lines() if "digits" in line]
    assert [line.split()[1] for line in example] == ["train", "modularize", "train", "patch"]
    for line in example:
        _, *arguments = shlex.split(line)
        ran = subprocess.run(
            [str(BIN / "patchbay"), *arguments], cwd=tmp_path, capture_output=True, check=False
        )
        assert ran.returncode == 0, (line, ran.stderr.decode())


@pytest.mark.slow  # trains six networks and starts the service twice: one to three minutes alone
@pytest.mark.timeout(1800)
def test_from_the_demo_to_a_patched_answer_over_http(tmp_path: Path) -> None:
    home = tmp_path / ".patchbay"

    def patchbay(*arguments: str) -> Any:
        command = [str(BIN / "patchbay"), *arguments, "--json", "--home", str(home)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    told = patchbay("demo")
    assert {"strong", "composed", "weak", "patched", "module", "http", "seconds", "targets"} <= set(
        told
    )
    assert told["http"]["mismatches"] == 0
    assert [one["target"] for one in told["targets"]] == ["0", "1", "2", "3", "4"]
    for one in (*told["targets"], told):
        for side in ("weak", "patched"):
            assert all(0 <= value <= 1 for value in one[side].values())
    best = max(told["targets"], key=lambda one: one["validation_f1_gain"])
    assert best["served"]
    assert told["http"]["images"] == best["images"]
    assert told["composed"]["validation_accuracy"] > told["composed"]["random_validation_accuracy"]

    kinds = [row["kind"] for row in patchbay("list")]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "strong": 1,
        "weak": 5,
        "class_module": 5,
        "patched": 5,
    }
    champion = (home / "demo" / "served").read_text()
    assert patchbay("show", champion)["uri"] == best["patched_uri"]
    assert Path(told["picture"]).stat().st_size > 10_000

    names = [path.name for path in Path(told["samples"]).iterdir()]
    assert any(name.startswith(f"{best['target']}-changed-") for name in names)
    assert len({name[0] for name in names}) == 5

    sample = Path(told["sample"])
    offline = patchbay("predict", champion, str(sample))["predictions"][0]
    online = served_answer(home, champion, sample)
    assert online["label"] == offline["label"]
    for side in ("scores", "weak_scores"):
        assert online[side] == pytest.approx(offline[side], abs=1e-5)


def served_answer(home: Path, uri: str, sample: Path) -> Any:
    """What ``patchbay serve`` answers to a file, over HTTP, as the README's curl line asks."""
    port = str(free_port())
    command = [str(BIN / "patchbay"), "serve", uri, "--port", port, "--json", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            shown = ""
            while "}" not in shown:
                line = process.stdout.readline()
                assert line, "the service ended before it was ready"
                shown += line
            address = json.loads(shown)["url"] + "/predict"
            request = urllib.request.Request(address, data=sample.read_bytes(), method="POST")
            with urllib.request.urlopen(request, timeout=300) as response:
                return json.load(response)["predictions"][0]
        finally:
            stop(process)
