"""Every command of the pages on serving, against a real service."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving.client import png_bytes
from serving.launch import RunningService
from serving.settings import PREFIX, Settings
from serving.telemetry import Telemetry
from tests.serving.samples import random_images

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = ("serve", "protocols", "operate")
NAMES = {  # what the demo makes, and what is registered here
    "digits-patched-4": "served",
    "digits-strong.4": "strong.TC",
    "patches=4": "patches=cone",
}
HERE = "127.0.0.1:3000"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / f"{page}.md").read_text()
    found = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    return [translated(one) for one in found]


def translated(text: str) -> str:
    for ours, theirs in NAMES.items():
        text = text.replace(ours, theirs)
    return text


LINES = [
    pytest.param(line, id=f"{page}-{number}")
    for page in PAGES
    for number, line in enumerate(
        line for block in blocks(page, "bash") for line in block.splitlines()
    )
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    (folder / "sample.png").write_bytes(png_bytes(random_images(8, 8, 1)))
    return folder


@pytest.mark.parametrize("line", LINES)
def test_a_line_does_what_the_page_says(service: RunningService, folder: Path, line: str) -> None:
    command, _, comment = line.partition("  # ")
    assert command.startswith("curl ")
    command = command.replace(f"http://{HERE}", service.url)
    command = command.replace("curl ", "curl --noproxy '*' -w '\\n%{http_code}' ", 1)
    ran = subprocess.run(
        ["bash", "-euc", command], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    body, _, status = ran.stdout.rpartition("\n")
    expected = comment.split() or ["200"]
    assert status == expected[0]
    if len(expected) > 1:
        assert json.loads(body)["error"]["code"] == expected[1]


@pytest.mark.parametrize("block", blocks("protocols", "python"))
def test_a_program_runs_as_it_stands(service: RunningService, folder: Path, block: str) -> None:
    program = block.replace(HERE, service.url.removeprefix("http://"))
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


def test_every_setting_is_on_the_page_with_its_default() -> None:
    text = (DOCS / "serve.md").read_text()
    rows = dict(re.findall(rf"\| `{PREFIX}(\w+)` \|(.*?)\|", text))
    defaults = Settings()
    assert set(rows) == {name.upper() for name in Settings.model_fields}
    for name in Settings.model_fields:
        value = getattr(defaults, name)
        if name != "home":
            shown = (
                "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
            )
            assert rows[name.upper()].strip("` ") == shown, name


def test_every_metric_is_on_the_page_and_the_dashboard_has_no_others() -> None:
    telemetry = Telemetry()
    ours = {
        one.name + ("_total" if one.type == "counter" else "")
        for one in telemetry.registry.collect()
        if one.name.startswith("patchbay_")
    }
    page = (DOCS / "operate.md").read_text()
    assert set(re.findall(r"^\| `(patchbay_\w+)`", page, flags=re.MULTILINE)) == ours
    dashboard = (DOCS / "grafana-dashboard.json").read_text()
    drawn = set(re.findall(r"patchbay_\w+", dashboard))
    assert {re.sub(r"_(bucket|sum|count)$", "", one) for one in drawn} <= ours
    assert json.loads(dashboard)["title"] == "patchbay"
