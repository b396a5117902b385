"""The real service as a child process that is always stopped again."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
from pydantic import SecretStr

from serving.errors import LaunchError
from serving.residency.state import LOADING
from serving.settings import PREFIX, Settings

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"

_LOG_TAIL_LINES = 20
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class RunningService:
    """A service that answers.

    Attributes:
        url: its address, without a slash at the end.
        process: BentoML's supervisor; the worker is its child.
        log_path: what both write.
    """

    url: str
    process: subprocess.Popen[bytes]
    log_path: Path

    def wait(self) -> int:
        """Wait until the service ends by itself; gives its exit code."""
        return self.process.wait()

    def log_tail(self, lines: int = _LOG_TAIL_LINES) -> str:
        """The last lines of its log."""
        return _tail(self.log_path, lines)


@contextmanager
def running_service(
    settings: Settings,
    *,
    host: str = HOST,
    port: int | None = None,
    log_path: Path | None = None,
    start_seconds: float = 120.0,
    must_be_ready: bool = True,
) -> Iterator[RunningService]:
    """Start the service, wait until it is ready, and stop it when the block ends.

    Args:
        settings: given to it through its environment.
        host: the address to listen on; loopback unless told otherwise.
        port: to listen on; a free one if None.
        log_path: where its log goes; a temporary file, removed with it, if None.
        start_seconds: how long it may take to be ready.
        must_be_ready: whether a service without a model is an error; if not, it is enough
            that it answers and says why.

    Raises:
        LaunchError: if the port is in use, or the service ends, does not become ready in time
            or says that it can't; with the end of its log where that tells more.
    """
    with tempfile.TemporaryDirectory(prefix="patchbay-service-") as folder:
        log = log_path or Path(folder) / "service.log"
        # BentoML keeps the counters of a process in its home and clears them at start: two
        # services that shared one would clear each other's.
        environment = child_environment(settings, bentoml_home=Path(folder) / "bentoml")
        service = _start(environment, host, port, log)
        try:
            _wait_until_ready(service, start_seconds, must_be_ready=must_be_ready)
            yield service
        finally:
            stop(service.process)


def child_environment(settings: Settings, *, bentoml_home: Path) -> dict[str, str]:
    """This process's environment with these settings in place of its own."""
    environment = {name: value for name, value in os.environ.items() if not _is_setting(name)}
    for name, value in settings.model_dump(exclude_none=True).items():
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        environment[PREFIX + name.upper()] = str(plain)
    if settings.home is not None:
        environment[PREFIX + "HOME"] = str(settings.home.absolute())
        environment.pop("MLFLOW_TRACKING_URI", None)  # it would win over a home
    for name, path in (("ARCHIVE", settings.archive), ("SAMPLES", settings.samples)):
        if path is not None:
            environment[PREFIX + name] = str(path.absolute())
    environment["BENTOML_HOME"] = str(bentoml_home)
    environment["BENTOML_DO_NOT_TRACK"] = "True"
    environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
    environment["OMP_NUM_THREADS"] = str(settings.threads)
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def require_free_port(host: str, port: int) -> None:
    """Refuse a port that something listens on already.

    Raises:
        LaunchError: if it can't be listened on.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise LaunchError(
                f"can't listen on {host}:{port}: {getattr(error, 'strerror', None) or error}; "
                "stop what uses the port, or choose another"
            ) from error


def free_port(host: str = HOST) -> int:
    """A port that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def stop(process: subprocess.Popen[Any], *, grace_seconds: float = _GRACE_SECONDS) -> None:
    """End a service and all its children: asked first, killed if they don't.

    The children are found by parentage: BentoML gives each worker a session of its own, so a
    signal to the supervisor's process group would not reach them.
    """
    children = _children(process)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            logger.warning("the service (process %d) did not end; killing it", process.pid)
            process.kill()
            process.wait()
    killed = _still_running(children, grace_seconds)
    for child in killed:
        logger.warning("process %d of the service did not end; killing it", child.pid)
        with suppress(psutil.NoSuchProcess):
            child.kill()
    _still_running(killed, _GRACE_SECONDS)  # what is killed takes a moment to be gone


def _start(
    environment: Mapping[str, str], host: str, port: int | None, log: Path
) -> RunningService:
    if port is not None:
        require_free_port(host, port)
    chosen = port if port is not None else free_port(host)
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:PatchbayService"]
    command += ["--host", host, "--port", str(chosen), "--timeout-graceful-shutdown", "5"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us; we stop the service in our own order
        )
    return RunningService(f"http://{host}:{chosen}", process, log)


def _wait_until_ready(service: RunningService, seconds: float, *, must_be_ready: bool) -> None:
    deadline = monotonic() + seconds
    with httpx.Client(base_url=service.url, timeout=5.0, trust_env=False) as client:
        while True:
            if service.process.poll() is not None:
                raise LaunchError(
                    f"the service ended with exit code {service.process.returncode} before it "
                    f"was ready; its log ends with\n{service.log_tail()}"
                )
            code, message = _readiness(client)
            if code == "ready" or (not must_be_ready and code not in ("silent", LOADING)):
                return
            if code not in ("silent", LOADING):
                raise LaunchError(f"the service has no model to serve: {message}")
            if monotonic() > deadline:
                raise LaunchError(
                    f"the service was not ready after {seconds:g} seconds ({message}); its log "
                    f"ends with\n{service.log_tail()}"
                )
            sleep(_POLL_SECONDS)


def _readiness(client: httpx.Client) -> tuple[str, str]:
    """What /readyz says: "ready", the code of its reason, or "silent"; and the message."""
    try:
        response = client.get("/readyz")
        if response.status_code == httpx.codes.OK:
            return "ready", ""
        error = response.json()["error"]
        return str(error["code"]), str(error["message"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return "silent", f"no answer: {error}"


def _children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return list(psutil.Process(process.pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _still_running(processes: list[psutil.Process], grace_seconds: float) -> list[psutil.Process]:
    """Those that have not ended after that time; an orphan that nobody reaps has ended."""
    deadline = monotonic() + grace_seconds
    while True:
        processes = [process for process in processes if _runs(process)]
        if not processes or monotonic() > deadline:
            return processes
        sleep(_POLL_SECONDS)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _is_setting(name: str) -> bool:
    return name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() in Settings.model_fields


def _tail(path: Path, lines: int) -> str:
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-lines:])
