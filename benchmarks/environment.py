"""What a measurement was made on: published beside every number."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any


def environment(device: str = "cpu", *, packages: Sequence[str] = ()) -> dict[str, Any]:
    """Processor, GPU, cores, threads, versions, system and commit, as JSON values.

    Args:
        device: ``cpu`` or ``cuda``.
        packages: whose versions matter, too.
    """
    import numpy as np
    import torch

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "cuda": torch.version.cuda if device == "cuda" else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        **{name: version(name) for name in packages},
        "system": platform.platform(),
        "commit": _commit(),
    }


def processor_info(name: str) -> str | None:
    """What the system tells of its first core under a name; None where it doesn't."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    told = (line.partition(":")[2].strip() for line in lines if line.startswith(name))
    return next(told, None)


def _processor() -> str:
    return processor_info("model name") or platform.processor() or "unknown"


def _commit() -> str | None:
    """The checkout's commit, with a + where files differ from it; None outside of a checkout."""
    git = shutil.which("git")
    root = Path(__file__).parent.parent
    if git is None or not (root / ".git").exists():
        return None
    asked = [git, "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty=+"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
