"""The page about MLflow: its commands and its code run as written, and its pictures are there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import requests
from PIL import Image

from registry.model_page import GAINS
from registry.registry import Registry
from serving.launch import free_port, stop
from tests.patchbay.running import Shop, run_command

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "in-mlflow.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def lines_of(program: str) -> list[str]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.split()[0] == program]


@pytest.fixture
def here(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose ``.patchbay`` is the shop's home."""
    (tmp_path / ".patchbay").symlink_to(shop.home)
    monkeypatch.delenv("PATCHBAY_HOME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", lines_of("patchbay"))
def test_the_page_s_commands_run_as_written(here: Path, line: str) -> None:
    ran = run_command(*shlex.split(line)[1:])
    assert ran.code == 0, ran.err
    assert "strong.1" in ran.out


def test_the_page_s_code_runs_as_written(here: Path, shop: Shop) -> None:
    *_, first, second = blocks("python")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{first}\n{second}"],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    manifest = Registry.open(shop.home).manifest(shop.modules["1"])
    assert manifest.kind == "class_module"
    about, network = ran.stdout.strip().splitlines()
    assert about.startswith("1 {'kernels': ")
    assert f"'multiply_adds': {manifest.cost.multiply_adds}," in about
    assert "'features.0.0.weight'" in about
    assert network == f"1 {manifest.cost.parameters}"


def test_the_page_s_search_sorts_class_modules_by_a_metric(
    here: Path, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    search, *_ = blocks("python")
    try:
        exec(search, {})
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    registry = Registry.open(shop.home)
    costs = {
        f"strong class {name}": registry.find(uri).metrics["multiply_adds"]
        for name, uri in shop.modules.items()
    }
    listed = [line.partition(" {")[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == sorted(costs, key=lambda name: costs[name])


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", PAGE))
def test_the_page_s_links_lead_somewhere(target: str) -> None:
    assert (ROOT / "docs" / target).exists()


@pytest.mark.parametrize("name", re.findall(r"\]\(([^)#]+\.png)\)", PAGE))
def test_the_page_s_pictures_are_small_and_can_be_read(name: str) -> None:
    path = ROOT / "docs" / name
    assert path.stat().st_size < 300_000
    with Image.open(path) as picture:
        assert picture.width >= 1000
        picture.verify()


def test_the_page_names_every_metric_that_is_compared(shop: Shop) -> None:
    shown = {metric for row in re.findall(r"^\| (`.*?) \|", PAGE, flags=re.MULTILINE)
             for metric in re.findall(r"`(\w+)`", row)}  # fmt: skip
    registry = Registry.open(shop.home)
    logged = set()
    for uri in (shop.strong, shop.patched, shop.modules["1"]):
        model = registry._store.client.get_logged_model(registry.find(uri).model_id)
        logged |= {one.key for one in model.metrics if one.dataset_name is None}
    assert logged == shown
    assert set(GAINS.values()) <= shown


@pytest.mark.slow  # starts MLflow's server
def test_mlflow_s_pages_start_as_written(here: Path) -> None:
    (line,) = lines_of("mlflow")
    port = free_port()
    program, *words = shlex.split(line)
    command = [str(Path(sys.executable).parent / program), *words, f"--port={port}", "--workers=1"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    asked = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get-by-name"
    with subprocess.Popen(command, cwd=here, env=environment) as process:
        try:
            experiment = _answer(process, asked)["experiment"]
        finally:
            stop(process)
    tags = {tag["key"]: tag["value"] for tag in experiment["tags"]}
    assert tags["mlflow.experimentKind"] == "custom_model_development"


def _answer(
    process: subprocess.Popen[bytes], asked: str
) -> dict[str, dict[str, list[dict[str, str]]]]:
    deadline = time.monotonic() + 600
    while process.poll() is None and time.monotonic() < deadline:
        try:
            answer = requests.get(asked, params={"experiment_name": "patchbay"}, timeout=60)
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.5)
            continue
        found: dict[str, dict[str, list[dict[str, str]]]] = answer.json()
        return found
    raise AssertionError("MLflow's server did not start")
