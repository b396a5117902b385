"""Servers for tests: PostgreSQL in a temporary folder, and MLflow's on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import requests

_START_SECONDS = 600
_STOP_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """An MLflow server that is up.

    Attributes:
        url: what ``MLFLOW_TRACKING_URI`` is set to.
        artifacts: the folder that it serves artifacts from.
        log: what it and its workers printed.
    """

    url: str
    artifacts: Path
    log: Path


@contextmanager
def mlflow_server(folder: Path, backend_uri: str | None = None) -> Iterator[Server]:
    """An MLflow server with one worker, artifacts through it, and a fresh store.

    Args:
        folder: its files go here.
        backend_uri: its database; None makes a sqlite file in the folder.
    """
    artifacts = folder / "served-artifacts"
    backend = backend_uri or f"sqlite:///{folder}/server.db"

    def arguments(port: int) -> list[str]:
        return [
            *("server", "--workers=1", "--host=127.0.0.1", f"--port={port}", "--serve-artifacts"),
            *(f"--backend-store-uri={backend}", f"--artifacts-destination={artifacts}"),
        ]

    environment = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a queue of its own, with its own workers
    }
    with run_mlflow_server(folder, arguments, environment) as url:
        yield Server(url, artifacts, folder / "server.log")


@contextmanager
def run_mlflow_server(
    folder: Path, arguments: Callable[[int], Sequence[str]], environment: Mapping[str, str]
) -> Iterator[str]:
    """Run ``mlflow`` with these arguments, and give its address when it is up.

    Args:
        folder: its log goes here.
        arguments: for a port that is free.
        environment: in place of what there is of MLflow's variables.
    """
    log = folder / "server.log"
    given = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
        **environment,
    }
    with _reserved_port() as port:
        command = [sys.executable, "-m", "mlflow", *arguments(port)]
        url = f"http://127.0.0.1:{port}"
        with _process(command, log, env=given) as process:
            _wait_until(lambda: _is_healthy(url), process, log)
            try:
                yield url
            finally:
                if (code := process.poll()) is not None:
                    raise RuntimeError(f"{url} ended by itself, exit code {code}: {_end_of(log)}")


@contextmanager
def postgres_server() -> Iterator[str]:
    """A PostgreSQL cluster of its own, on a socket in its own folder; gives its address."""
    # Not pytest's folder: root's is closed to the user that PostgreSQL then has to run as.
    folder = Path(mkdtemp(prefix="patchbay-pg-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # it refuses to run as root
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(folder, "postgres", "postgres")
    log, data = folder.with_suffix(".log"), folder / "data"
    try:
        initdb = [_postgres("initdb"), f"--pgdata={data}", "--username=patchbay"]
        initdb += ["--auth=trust", "--encoding=UTF8", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **user)
        start = [_postgres("postgres"), "-D", str(data), "-k", str(folder)]
        start += ["-c", "listen_addresses=", "-c", "fsync=off"]
        # SIGINT: it ends without waiting for those that are still connected.
        with _process(start, log, cwd=folder, stop=signal.SIGINT, **user) as process:
            _wait_until(lambda: _accepts(folder), process, log)
            yield f"postgresql+psycopg2://patchbay@/postgres?host={folder}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # one that had to be killed may write still
        log.unlink(missing_ok=True)


def missing_for_postgres() -> str | None:
    """Why there can be no PostgreSQL here, or None."""
    if not (_postgres("initdb") and _postgres("postgres")):
        return "PostgreSQL is not installed"
    if find_spec("psycopg2") is None:
        return "PostgreSQL's driver psycopg2 is not installed"
    return None


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """A folder with a short name, for what has to be in the session's scope."""
    with TemporaryDirectory(prefix="patchbay-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def _process(
    command: Sequence[Any], log: Path, *, stop: int = signal.SIGTERM, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its children in a group of their own, which ends with the context."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, **options
        )
    try:
        yield process
    finally:
        process.send_signal(stop)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_STOP_SECONDS)
        with suppress(ProcessLookupError):  # its workers too, where it left some
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until(ready: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start:\n{_end_of(log)}")
        time.sleep(0.1)


def _is_healthy(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=30).ok
    except (requests.ConnectionError, requests.Timeout):
        return False


def _accepts(folder: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as client:
        return client.connect_ex(str(folder / ".s.PGSQL.5432")) == 0


@contextmanager
def _reserved_port() -> Iterator[int]:
    """A port that nobody else is given: a server takes seconds to listen on one.

    It stays bound without listening here; the server may bind it, too, as both say that they share.
    """
    with closing(socket.socket()) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]


def _postgres(program: str) -> str:
    """Where a program of PostgreSQL lies, empty if nowhere; Debian keeps them out of ``PATH``."""
    debian = sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{program}")))
    return shutil.which(program) or (debian[-1] if debian else "")
