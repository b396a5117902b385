"""The servers that are measured, each on the one core that it gets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter, sleep

import httpx

from benchmarks.serving.cores import on_core
from benchmarks.serving.process_tree import ProcessTree
from serving.errors import LaunchError
from serving.launch import HOST, free_port, running_service, stop
from serving.settings import Settings

PACKAGES = ("bentoml", "mlflow", "uvicorn")
"""What servers are made of: their versions stand beside the figures."""

_START_SECONDS = 180.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Peer:
    """A server that answers.

    Attributes:
        host: where it listens.
        port: where it listens.
        processes: of it.
        startup_seconds: from its start until it said that it was ready.
    """

    host: str
    port: int
    processes: ProcessTree
    startup_seconds: float


@contextmanager
def patchbay_service(
    uri: str, home: Path, *, core: int | None, poll_seconds: float = Settings().poll_seconds
) -> Iterator[Peer]:
    """The service of a registered patched model, as ``patchbay serve`` starts it.

    Args:
        uri: the model's address.
        home: the registry's.
        core: it runs there alone.
        poll_seconds: how often it looks where an alias stands.

    Raises:
        LaunchError: if it does not become ready.
    """
    settings = Settings(
        model_uri=uri, home=home, device="cpu", threads=1, poll_seconds=poll_seconds
    )
    with ExitStack() as stack:
        began = perf_counter()
        with on_core(core):
            service = stack.enter_context(running_service(settings))
        took = perf_counter() - began
        port = int(service.url.rpartition(":")[2])
        yield Peer(HOST, port, ProcessTree(service.process.pid), took)


@contextmanager
def mlflow_server(model: Path, scratch: Path, *, core: int | None) -> Iterator[Peer]:
    """``mlflow models serve`` of an exported model, with one worker as the service has one.

    Args:
        model: the folder that ``patchbay export --pyfunc`` writes.
        scratch: a folder for its log and for what MLflow puts where it runs.
        core: it runs there alone.

    Raises:
        LaunchError: if it does not become ready.
    """
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(model)]
    command += ["--env-manager", "local", "--workers", "1", "--host", HOST, "--port", str(port)]
    began = perf_counter()
    with on_core(core):
        process = _started(command, _mlflow_environment(), scratch)
    try:
        _wait_until_it_answers(process, f"http://{HOST}:{port}/ping", scratch)
        yield Peer(HOST, port, ProcessTree(process.pid), perf_counter() - began)
    finally:
        stop(process)


@contextmanager
def trivial_server(label: str, scratch: Path, *, core: int | None) -> Iterator[Peer]:
    """A server that does next to nothing: how fast the load generator can ask.

    Args:
        label: that all of its answers name.
        scratch: a folder for its log.
        core: it runs there alone.
    """
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.serving.trivial_server", str(port), label]
    began = perf_counter()
    with on_core(core):
        process = _started(command, benchmark_environment(), scratch)
    try:
        _wait_until_it_answers(process, f"http://{HOST}:{port}/", scratch)
        yield Peer(HOST, port, ProcessTree(process.pid), perf_counter() - began)
    finally:
        stop(process)


def benchmark_environment() -> dict[str, str]:
    """This process's environment, in which a child finds these packages wherever it runs."""
    root = str(Path(__file__).parent.parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _mlflow_environment() -> dict[str, str]:
    environment = benchmark_environment()
    environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
    environment["OMP_NUM_THREADS"] = "1"
    environment.pop("MLFLOW_TRACKING_URI", None)
    # It calls uvicorn by its name.
    environment["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), environment.get("PATH", "")]
    )
    return environment


def _started(
    command: list[str], environment: dict[str, str], scratch: Path
) -> subprocess.Popen[bytes]:
    scratch.mkdir(parents=True, exist_ok=True)
    with (scratch / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=scratch,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: str, scratch: Path) -> None:
    deadline = monotonic() + _START_SECONDS
    with httpx.Client(timeout=5.0, trust_env=False) as client:
        while not _answers(client, url):
            if process.poll() is not None or monotonic() > deadline:
                log = (scratch / "log").read_text(errors="replace").splitlines()[-20:]
                raise LaunchError(
                    f"{' '.join(map(str, process.args[:5]))} did not become ready; its log ends "  # type: ignore[index]
                    "with\n" + "\n".join(log)
                )
            sleep(_POLL_SECONDS)


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
