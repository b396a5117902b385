"""Imports point one way, and the core does without the heavy libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "modularizer": {"registry", "serving", "benchmarks", "patchbay"},
    "registry": {"serving", "benchmarks", "patchbay"},
    "serving": {"benchmarks", "patchbay"},
}
HEAVY = ("mlflow", "bentoml", "sklearn", "fvcore", "torchvision", "matplotlib")
KEPT = {
    *(".py", ".md", ".toml", ".lock", ".yaml", ".json", ".typed", ".png"),
    *(".html", ".css", ".js"),
    *(".safetensors", "Makefile", "run", ".gitignore"),
}
ONE_PLACE = {"mlflow": "registry/store", "bentoml": "serving"}


def imported(source: str) -> set[str]:
    """Top-level names that a source file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"no source under {ROOT / package}"
    return found


def test_every_way_of_importing_is_seen() -> None:
    source = (
        "import registry\n"
        "def f():\n    from serving.engine.engine import Engine\n"
        "if True:\n    import benchmarks.search.stages as b, os\n"
        "from . import patchbay\n"
    )
    assert imported(source) == {"registry", "serving", "benchmarks", "os"}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources(package)
        for name in imported(path.read_text()) & FORBIDDEN[package]
    }
    assert not wrong


@pytest.mark.parametrize("library", ONE_PLACE)
def test_a_platform_is_imported_in_its_own_folder_alone(library: str) -> None:
    wrong = {
        str(path.relative_to(ROOT))
        for package in FORBIDDEN
        for path in sources(package)
        if ROOT / ONE_PLACE[library] not in path.parents and library in imported(path.read_text())
    }
    assert not wrong


def test_the_pipeline_is_imported_without_the_heavy_libraries() -> None:
    code = (
        "import sys, modularizer.pipeline\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_what_is_kept_is_source_words_and_figures() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    if listed.returncode != 0:
        pytest.skip("needs a git checkout")
    kept = [Path(name) for name in listed.stdout.split("\0") if name]
    assert len(kept) > 100
    stray = [path for path in kept if (path.suffix or path.name) not in KEPT]
    assert not stray
