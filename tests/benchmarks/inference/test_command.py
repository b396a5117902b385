"""``patchbay bench inference`` on networks of a twentieth of the width."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.patchbay.running import run_command

TOY = ("bench", "inference", "--toy", "--repeats", "5", "--batch", "1,3")
ROWS = {
    *(("weak", "in_turn"), ("module", "in_turn"), ("strong", "in_turn"), ("patched", "in_turn")),
    *(("patched_masked", "in_turn"), ("patched_strong", "in_turn"), ("patched_2", "in_turn")),
    *(("patched_4", "in_turn"), ("patched_8", "in_turn"), ("patched", "threads")),
    *(("patched", "two_processes"), ("module_aligned", "in_turn")),
    *(("weak", "unpacked"), ("patched", "unpacked")),
}


def rows(found: Any, batch: int) -> dict[tuple[str, str], Any]:
    return {(one["name"], one["executor"]): one for one in found["rows"] if one["batch"] == batch}


@pytest.mark.slow  # a process for each row
def test_every_row_is_measured_and_drawn(tmp_path: Path) -> None:
    out, pictures = tmp_path / "inference.json", tmp_path / "pictures"
    ran = run_command(*TOY, "--json", "--out", str(out), "--pictures", str(pictures))
    assert ran.code == 0, ran.err
    found = ran.json
    assert json.loads(out.read_text()) == found
    for batch in (1, 3):
        measured = rows(found, batch)
        assert measured.keys() == ROWS
        for (name, executor), one in measured.items():
            assert 0 < one["lowest_ms"] <= one["p50_ms"] <= one["p90_ms"] <= one["p99_ms"]
            assert one["images_per_second"] == pytest.approx(1000 * batch / one["p50_ms"])
            assert one["ratio_low"] <= one["ratio_to_weak"] <= one["ratio_high"]
            if executor == "two_processes":
                continue
            assert one["process_bytes"] > one["weight_bytes"] > 0
            if executor == "in_turn":  # medians of the parts and of the whole, of few runs
                assert sum(one["branch_ms"]) < 1.5 * one["highest_ms"]
            assert len(one["branch_ms"]) == (2 if name.startswith("patched") else 1) + (
                int(name[-1]) - 1 if name[-1].isdecimal() else 0
            )
        assert measured["weak", "in_turn"]["ratio_to_weak"] == 1
        sizes = {
            name: one["weight_bytes"]
            for (name, executor), one in measured.items()
            if executor == "in_turn"
        }
        assert sizes["patched"] == sizes["weak"] + sizes["module"]
        assert sizes["patched_strong"] == sizes["weak"] + sizes["strong"]
        assert sizes["module"] < sizes["strong"]
        adds = {
            name: one["multiply_adds"]
            for (name, _), one in measured.items()
            if "multiply_adds" in one
        }
        assert adds["patched"] == adds["weak"] + adds["module"]
        assert adds["patched_masked"] > adds["patched_strong"] * 0.9
    assert {one["verdict"] for one in found["verdicts"]} == {"undecided"}
    assert {path.name for path in pictures.iterdir()} == {
        "latency.png",
        "memory.png",
        "branches.png",
        "ratios.png",
    }
    for path in pictures.iterdir():
        with Image.open(path) as picture:
            assert picture.size[0] > 300
    for other in (("--out", str(tmp_path / "other.json")), ("models:/some/1",)):
        refused = run_command("bench", "inference", "--figures", str(out), *other)
        assert refused.code == 2
        assert "--figures measures nothing" in refused.err
    again = run_command("bench", "inference", "--figures", str(out))
    assert again.code == 0
    assert "patched_strong" in again.out
    assert "undecided" in again.out


def test_it_takes_no_more_than_torch() -> None:
    """So that it runs beside a GPU where no more is installed."""
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Refuse())
import benchmarks.inference.__main__
"""
    refused = "mlflow,bentoml,fvcore,click,rich,matplotlib,sqlalchemy,httpx,psutil,pyarrow,scipy,"
    refused += "sklearn,requests,filelock,safetensors,starlette,uvicorn,prometheus_client,PIL"
    done = subprocess.run(
        [sys.executable, "-c", code, refused], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_it_runs_without_the_command(tmp_path: Path) -> None:
    out = tmp_path / "inference.json"
    arguments = ["--architecture", "simcnn", "--width", "0.05", "--batch", "2", "--modules", "2"]
    arguments += ["--repeats", "2", "--no-memory", "--no-processes", "--out", str(out)]
    command = [sys.executable, "-m", "benchmarks.inference", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(out.read_text())
    assert {one["batch"] for one in found["rows"]} == {2}
    assert "patched_2" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--batch", "0"), "expected numbers from 1 to 4096"),
        (("--batch", "many"), "expected numbers from 1 to 4096"),
        (("--width", "nan"), "not a finite number"),
        (("--repeats", "0"), "0 is not in the range"),
        (("--precision", "tf32"), "tf32 is arithmetic of GPUs"),
        (("--architecture", "resnet18"), "'resnet18' is not one of"),
        (("--figures", "nowhere.json"), "does not exist"),
        (("--home", "somewhere"), "--home goes with URI"),
    ],
)
def test_what_can_t_be_measured_is_refused(arguments: tuple[str, ...], expected: str) -> None:
    ran = run_command(*TOY, *arguments)
    assert ran.code != 0
    assert expected in ran.err


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    for text in ("[]", "{}", "no JSON"):
        other.write_text(text)
        ran = run_command("bench", "inference", "--figures", str(other))
        assert ran.code == 1
        assert "expected figures of patchbay bench inference" in ran.err
