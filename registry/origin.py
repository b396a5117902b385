"""What computed a result: versions of software, and the commit of the code."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from modularizer.records import Provenance
from modularizer.software import software_versions
from registry.bundles.manifest import Origin

_DISTRIBUTIONS = ("patchbay", "torch", "torchvision", "numpy", "safetensors", "mlflow")


def origin_of(provenance: Provenance) -> Origin:
    """A result's provenance, with the software and the commit that computed it."""
    return Origin(
        settings=dict(provenance.settings),
        seed=provenance.seed,
        data_source=provenance.data_source,
        data_fingerprint=provenance.data_fingerprint,
        software=software_versions(*_DISTRIBUTIONS),
        git_commit=_git_commit(),
    )


@cache
def _git_commit() -> str | None:
    """The commit of the checkout that this code runs from, with ``-dirty`` if it was changed."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            [
                "git",
                "-C",
                str(root),
                "describe",
                "--always",
                "--dirty",
                "--abbrev=40",
                "--exclude=*",
            ],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
