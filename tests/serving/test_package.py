"""Bentos are built, taken elsewhere and served there; the page on packaging runs as it stands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest

from modularizer.classifier import predict
from registry.registry import Registry
from serving.carried import ARCHIVE_FILE
from serving.client import PredictClient, png_bytes
from serving.launch import free_port
from tests.serving.bentos import (
    ROOT,
    Checkout,
    copy_checkout,
    environment_without_patchbay,
    plain_environment,
    serving,
)
from tests.serving.samples import random_images, register_patched
from tests.waiting import PATIENCE_SECONDS

PAGE = (ROOT / "docs" / "package.md").read_text()
PACKAGES = ("modularizer", "registry", "serving")

pytestmark = [
    pytest.mark.slow,  # builds Bentos and starts services: minutes
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl"),
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """With a home in which ``models:/served@champion`` stands for the second version."""
    checkout = copy_checkout(tmp_path_factory.mktemp("package"))
    home = checkout.folder / ".patchbay"
    register_patched(home)
    register_patched(home, seed=2)
    (home / "demo").mkdir()
    (home / "demo" / "sample.png").write_bytes(png_bytes(random_images(8, 8, 1)))
    return checkout


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_bento_holds_the_service_and_what_it_needs_and_nothing_else(checkout: Checkout) -> None:
    bento = checkout.build()
    expected = {name for name in checkout.kept if name.startswith("serving/")}
    expected |= {
        name for name in checkout.kept if name.split("/")[0] in PACKAGES and name.endswith(".py")
    }
    found = files_in(bento / "src")
    assert found == expected | {"bentofile.yaml", "pyproject.toml", "requirements.lock"}
    assert {name.split("/")[0] for name in files_in(bento) if not name.startswith("src/")} == {
        *("bento.yaml", "README.md"),
        *("apis", "env"),
    }
    wanted = (bento / "env" / "python" / "requirements.txt").read_text().split("\n")
    locked = (ROOT / "requirements.lock").read_text().split("\n")
    pins = re.compile(r"^[a-z0-9._-]+==[^ ;]+", re.IGNORECASE)
    assert {one[0] for line in locked if (one := pins.match(line))} == {
        one[0] for line in wanted if (one := pins.match(line))
    }
    assert sum((bento / name).stat().st_size for name in files_in(bento)) < 4e6


def test_a_carried_model_answers_to_the_bit_where_there_is_nothing_else(
    checkout: Checkout, tmp_path: Path
) -> None:
    home = checkout.folder / ".patchbay"
    registry = Registry.open(home)
    exported = registry.exchange.export_archive(
        "models:/served@champion", checkout.folder / ARCHIVE_FILE
    )
    elsewhere = tmp_path / "elsewhere"
    shutil.move(checkout.build(), elsewhere)
    (checkout.folder / ARCHIVE_FILE).unlink()
    python = environment_without_patchbay(tmp_path / "venv")
    environment = plain_environment(tmp_path)
    for package in (*PACKAGES, "patchbay"):
        failing = [str(python), "-c", f"import {package}"]
        ran = subprocess.run(
            failing, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert f"No module named '{package}'" in ran.stderr
    images = random_images(24, 8, 8, 1, seed=3)
    patched = registry.load_patched("models:/served/2")
    before = files_in(tmp_path / "user")
    command = f"{python} -m bentoml serve {shlex.quote(str(elsewhere))} --host 127.0.0.1"
    with serving(
        command, free_port(), cwd=tmp_path, environment=environment, log=tmp_path / "log"
    ) as url:
        ready = httpx.get(f"{url}/readyz", trust_env=False, timeout=PATIENCE_SECONDS).json()
        assert ready["model"]["uri"] == "models:/served/2"
        assert not ready["from_cache"]
        told = httpx.get(f"{url}/model", trust_env=False, timeout=PATIENCE_SECONDS).json()
        assert told["digest"] == exported[-1].digest
        for path in ("/", "/v2", "/openapi.json", "/metrics"):
            assert (
                httpx.get(url + path, trust_env=False, timeout=PATIENCE_SECONDS).status_code == 200
            )
        with PredictClient(url) as client:
            for image in images:
                [answer] = client.predict(png_bytes(image)).predictions
                scores = np.array(list(answer.scores.values()), dtype=np.float32)
                np.testing.assert_array_equal(scores, predict(patched, image[None])[0])
    assert files_in(tmp_path / "user") == before  # no registry was made, and no cache
    assert not list(tmp_path.rglob("mlflow.db"))


def translated(line: str) -> str:
    return line.replace("digits-patched-4", "served")


def test_the_page_runs_as_it_stands(checkout: Checkout, tmp_path: Path) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
    lines = [translated(line) for block in blocks for line in block.splitlines()]
    served = []
    environment = dict(checkout.environment)
    port = free_port()
    with ExitStack() as running:
        for number, line in enumerate(lines):
            here = Checkout(checkout.folder, checkout.kept, environment)
            if line.startswith("export "):
                name = line.removeprefix("export ").partition("=")[0]
                environment[name] = here.run(f"{line}; printenv {name}").strip()
            elif "bentoml serve" in line:
                running.close()
                if "elsewhere" in line:  # it is on its own there
                    environment = dict(checkout.environment)
                url = running.enter_context(
                    serving(
                        line,
                        port,
                        cwd=checkout.folder,
                        environment=environment,
                        log=tmp_path / f"{number}.log",
                    )
                )
                served.append(
                    httpx.get(f"{url}/status", trust_env=False, timeout=PATIENCE_SECONDS).json()
                )
            elif line.startswith("curl "):
                asked = line.replace("curl ", "curl --noproxy '*' ", 1)
                assert here.run(asked.replace("127.0.0.1:3000", f"127.0.0.1:{port}"))
            else:
                here.run(line)
    assert [one["model"]["uri"] for one in served] == ["models:/served/2"] * 2
    assert not (checkout.folder / ARCHIVE_FILE).exists()
