"""The servers that are measured, each of the same patched model, with one worker on one core."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter

from benchmarks.serving.cores import on_core
from benchmarks.serving.peer import Peer, benchmark_environment, child_server
from benchmarks.serving.process_tree import ProcessTree
from serving.launch import HOST, free_port, running_service
from serving.settings import Settings

PACKAGES = ("bentoml", "mlflow", "uvicorn")
"""What servers are made of: their versions stand beside the figures."""


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
        processes = ProcessTree(service.process.pid)
        with processes.resumed_at_the_end():
            yield Peer(HOST, port, processes, took)


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
    command = ["-m", "mlflow", "models", "serve", "--model-uri", str(model)]
    command += ["--env-manager", "local", "--workers", "1", "--host", HOST, "--port", str(port)]
    with child_server(
        command,
        port=port,
        ready_path="/ping",
        scratch=scratch,
        core=core,
        environment=_mlflow_environment(),
    ) as peer:
        yield peer


@contextmanager
def module_server(module: str, model: Path, scratch: Path, *, core: int | None) -> Iterator[Peer]:
    """A server of our own writing: `benchmarks.serving.starlette_server` or ``litserve_server``.

    Args:
        module: its name without the package.
        model: the archive that ``patchbay export`` writes.
        scratch: a folder for its log.
        core: it runs there alone, with all processes that it starts.

    Raises:
        LaunchError: if it does not become ready.
    """
    port = free_port()
    with child_server(
        ["-m", f"benchmarks.serving.{module}", str(port), str(model)],
        port=port,
        ready_path="/health",
        scratch=scratch,
        core=core,
        environment=_one_thread(),
    ) as peer:
        yield peer


@contextmanager
def trivial_server(label: str, scratch: Path, *, core: int | None) -> Iterator[Peer]:
    """A server that does next to nothing: how fast the load generator can ask.

    Args:
        label: that all of its answers name.
        scratch: a folder for its log.
        core: it runs there alone.
    """
    port = free_port()
    command = ["-m", "benchmarks.serving.trivial_server", str(port), label]
    with child_server(command, port=port, ready_path="/", scratch=scratch, core=core) as peer:
        yield peer


def _one_thread() -> dict[str, str]:
    return benchmark_environment() | {"OMP_NUM_THREADS": "1"}


def _mlflow_environment() -> dict[str, str]:
    environment = _one_thread() | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    # It calls uvicorn by its name.
    environment["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), environment.get("PATH", "")]
    )
    return environment
