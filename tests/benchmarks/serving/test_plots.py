from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.serving.plots import save_plots

MEASURED = Path(__file__).parents[3] / "benchmarks" / "results" / "serving-cpu.json"


@pytest.fixture
def found() -> Any:
    """What was measured, of the service and of MLflow's server."""
    found = json.loads(MEASURED.read_text())
    rows = [one for one in found["rows"] if one["name"] not in ("starlette", "litserve")]
    return found | {"rows": rows}


def colours(path: Path) -> set[tuple[int, ...]]:
    """Those of more than a few pixels."""
    with Image.open(path) as picture:
        assert picture.size[0] > 1000
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    found, counts = np.unique(pixels, axis=0, return_counts=True)
    return {tuple(one.tolist()) for one in found[counts > 50]}


PATCHED, STARLETTE, MLFLOW = (0x0B, 0x72, 0x85), (0xE8, 0x59, 0x0C), (0x34, 0x3A, 0x40)


def test_each_server_that_was_measured_has_its_line(found: Any, tmp_path: Path) -> None:
    [path] = save_plots(found, tmp_path)
    assert {PATCHED, MLFLOW} <= colours(path)
    assert STARLETTE not in colours(path)
    found["rows"] = [
        one | {"name": "starlette"} if one["name"] == "mlflow" else one for one in found["rows"]
    ]
    [path] = save_plots(found, tmp_path)
    assert {PATCHED, STARLETTE} <= colours(path)
    assert MLFLOW not in colours(path)


def test_a_server_that_gave_no_answer_has_no_line(found: Any, tmp_path: Path) -> None:
    nothing = {"p50_ms": None, "p99_ms": None}
    found["rows"] = [one | (nothing if one["name"] == "mlflow" else {}) for one in found["rows"]]
    [path] = save_plots(found, tmp_path)
    assert MLFLOW not in colours(path)
