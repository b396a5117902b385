"""A server that is measured: a process of its own on the one core that it gets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter, sleep

import httpx

from benchmarks.serving.cores import on_core
from benchmarks.serving.process_tree import ProcessTree
from serving.errors import LaunchError
from serving.launch import HOST, stop

_START_SECONDS = 180.0
_POLL_SECONDS = 0.05
_SHOWN_LINES = 20


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


def benchmark_environment() -> dict[str, str]:
    """This process's environment, in which a child finds these packages wherever it runs."""
    root = str(Path(__file__).parent.parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@contextmanager
def child_server(
    command: Sequence[str],
    *,
    port: int,
    ready_path: str,
    scratch: Path,
    core: int | None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Peer]:
    """Start a server, wait until it is ready, and end it with all that it started.

    Args:
        command: Python's arguments.
        port: where it will listen, on loopback.
        ready_path: what answers with 200 once it is ready.
        scratch: a folder for its log and for what it puts where it runs.
        core: it runs there alone; None for anywhere.
        environment: of its processes; None for `benchmark_environment`.

    Raises:
        LaunchError: if it does not become ready; with the end of its log.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    began = perf_counter()
    with on_core(core), (scratch / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=scratch,
            env=environment or benchmark_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_it_answers(process, f"http://{HOST}:{port}{ready_path}", scratch)
        processes = ProcessTree(process.pid)
        with processes.resumed_at_the_end():
            yield Peer(HOST, port, processes, perf_counter() - began)
    finally:
        stop(process)
        # Where it ended before its children did, these are nobody's, but still of its group.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: str, scratch: Path) -> None:
    deadline = monotonic() + _START_SECONDS
    with httpx.Client(timeout=5.0, trust_env=False) as client:
        while not _answers(client, url):
            if process.poll() is not None or monotonic() > deadline:
                log = (scratch / "log").read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
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
