"""Which process began something, and whether it can still end it."""

from __future__ import annotations

import os
import re
import socket
from datetime import timedelta
from functools import cache
from pathlib import Path

UNKNOWN_FOR = timedelta(hours=24)
"""How long what another machine began is taken for work in progress."""

_OWNER = re.compile(r"(?P<host>[^/]*)/(?P<pid>\d{1,9})/(?P<started>\d{1,20})")
_STATE, _START = 0, 19  # fields of /proc/PID/stat behind the name, which may hold anything
_ENDED = ("Z", "X")


def this_process() -> str:
    """This process for others to ask after: host, process id, and when it started."""
    pid = os.getpid()  # not kept: it is another one after a fork
    return f"{_host()}/{pid}/{_started(pid)}"


def is_gone(owner: str) -> bool | None:
    """Whether that process has ended; None if it can't be known here.

    Args:
        owner: as `this_process` gave it, on any host.
    """
    found = _OWNER.fullmatch(owner)
    if found is None or found["host"] != _host() or not Path("/proc/self/stat").exists():
        return None
    pid = int(found["pid"])
    started = _started(pid)
    if not started and _is_hidden(pid):
        return None
    return started != int(found["started"])


def _is_hidden(pid: int) -> bool:
    """Whether a process is there that /proc doesn't show, as its option hidepid has it."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return False  # it is ours, so that it would be shown: it has just come, or gone


def _started(pid: int) -> int:
    """When a process started, in ticks since the machine did; 0 if it is not seen or has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[_STATE] in _ENDED else int(fields[_START])


@cache
def _host() -> str:
    # The boot tells a machine from itself after a restart, the namespace one container from
    # another on it: process ids mean nothing beyond either.
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
        namespace = re.sub(r"\D", "", str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        boot = namespace = ""
    return ".".join((socket.gethostname(), boot, namespace)).replace("/", "_")
