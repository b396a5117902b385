"""A worker of the service does not outlive the process that would start it anew."""

from __future__ import annotations

import logging
import os
import signal
import sys
from threading import Thread
from time import sleep

logger = logging.getLogger(__name__)

_WORKER = "_bentoml_impl.worker.service"
_POLL_SECONDS = 1.0


def end_without_supervisor() -> Thread | None:
    """End this process, as if asked to, when BentoML's supervisor is gone.

    It would go on to serve, on a port that the next start then finds in use, and nobody would start
    it anew or stop it. Gives the thread that looks; None in a process that is no worker.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None or spec.name != _WORKER:
        return None
    thread = Thread(target=_watch, args=(os.getppid(),), name="patchbay-supervisor", daemon=True)
    thread.start()
    return thread


def _watch(supervisor: int) -> None:
    while os.getppid() == supervisor:
        sleep(_POLL_SECONDS)
    logger.error("the supervisor (process %d) is gone; ending", supervisor)
    os.kill(os.getpid(), signal.SIGTERM)
