"""Bentos built from a copy of this checkout, and an environment without it to serve them in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import httpx

from serving.launch import stop

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
_START_SECONDS = 240


@dataclass(frozen=True)
class Checkout:
    """A copy of what is kept of this project, with the clutter that work leaves behind.

    Attributes:
        folder: its root.
        kept: every file that is kept, relative to the root.
        environment: of programs that are run in it.
    """

    folder: Path
    kept: frozenset[str]
    environment: Mapping[str, str]

    def run(self, line: str) -> str:
        """Run a line of a shell in the root; gives what it printed."""
        ran = subprocess.run(
            ["bash", "-euc", line],
            cwd=self.folder,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ran.returncode == 0, f"{line}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def build(self) -> Path:
        """Build a Bento; gives its folder."""
        tag = self.run("bentoml build --output tag").strip().rpartition("__tag__:")[2]
        return Path(self.run(f"bentoml get {tag} --output path").strip())


def copy_checkout(folder: Path) -> Checkout:
    """Copy what is kept of this project.

    Args:
        folder: an empty one.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    root = folder / "checkout"
    kept = frozenset(name for name in listed.stdout.split("\0") if name and (ROOT / name).exists())
    for name in kept:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    for clutter in (".patchbay/mlflow.db.old", "serving/__pycache__/x.pyc", "elsewhere.bento"):
        (root / clutter).parent.mkdir(parents=True, exist_ok=True)
        (root / clutter).write_bytes(b"clutter")
    environment = {**plain_environment(folder), "PATH": f"{BIN}:{os.environ['PATH']}"}
    return Checkout(root, kept, environment)


def plain_environment(folder: Path) -> dict[str, str]:
    """Variables that say nothing of models; homes are in the folder."""
    home = folder / "user"
    home.mkdir(exist_ok=True)
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "OMP_NUM_THREADS": "1",
    }


def environment_without_patchbay(folder: Path) -> Path:
    """A virtual environment with all that is installed here but patchbay; gives its Python.

    Args:
        folder: a new one.
    """
    venv.create(folder, with_pip=False)
    name = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    for entry in (BIN.parent / name).iterdir():
        if "patchbay" not in entry.name and entry.suffix != ".pth":
            (folder / name / entry.name).symlink_to(entry)
    return folder / "bin" / "python"


@contextmanager
def serving(
    command: str, port: int, *, cwd: Path, environment: Mapping[str, str], log: Path
) -> Iterator[str]:
    """Run a line that serves, until the block ends; gives the service's address once it is ready.

    Args:
        command: as a user types it, but for the port.
        port: where it listens.
        cwd: where it is run.
        environment: what it is run with.
        log: what it prints.
    """
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", f"{command} --port {port}"],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = monotonic() + _START_SECONDS
        while not _is_ready(url):
            assert process.poll() is None, log.read_text()
            assert monotonic() < deadline, log.read_text()
            sleep(0.2)
        yield url
    finally:
        stop(process)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
