"""Versions of the software that computes a result."""

from __future__ import annotations

import platform
from importlib import metadata


def software_versions(*distributions: str) -> dict[str, str]:
    """Python's version and those of distributions that are installed, by name."""
    found = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
