"""One small registry for all command tests, made by the commands themselves on real digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.patchbay.running import NET, QUICK, Shop, run_command


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    home = tmp_path_factory.mktemp("shop") / "home"

    def made(command: str, *arguments: str) -> Any:
        ran = run_command(command, *arguments, "--home", str(home), "--json")
        assert ran.code == 0, ran.err
        return ran.json

    data = ("--data", "digits")
    strong = made("train", "strong", *data, "--classes", "0,1,2", *NET, *QUICK)["uri"]
    search = ("--candidates", "4", "--parents", "2", "--generations", "2", "--random-draws", "1")
    modules = {
        row["class_name"]: row["uri"]
        for row in made("modularize", strong, *data, *search)["modules"]
    }
    weak = made(
        "train", "weak", *data, "--classes", "7,8,1", "--kind", "weak", *NET, *QUICK,
        *("--stop", "underfitting"),
    )["uri"]  # fmt: skip
    patched = made(
        "patch", weak, "--with", modules["1"], "--name", "patched", *data, "--calibration", "minmax"
    )["uri"]
    return Shop(home, strong, modules, weak, patched)


@pytest.fixture
def digit_files(tmp_path: Path) -> Path:
    """Three real digits as PNG files in a folder."""
    from PIL import Image

    from modularizer.datasets.digits import read_digits

    for index, image in enumerate(read_digits().images[:3]):
        Image.fromarray(image[:, :, 0]).save(tmp_path / f"{index}.png")
    return tmp_path
