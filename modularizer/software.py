"""Versions of the software that computes a result."""

from __future__ import annotations

import platform
import tomllib
from importlib import metadata
from pathlib import Path

_ROOT = Path(__file__).parent.parent


def software_versions(*distributions: str) -> dict[str, str]:
    """Python's version and those of distributions that are installed, by name."""
    found = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def own_version(root: Path = _ROOT) -> str:
    """The version of this code.

    In a checkout and in a Bento it stands beside the packages; there is no installed patchbay
    beside a Bento, or another one. Where the packages are installed themselves, it is that.

    Args:
        root: the folder that the packages lie in.
    """
    try:
        with (root / "pyproject.toml").open("rb") as file:
            project = tomllib.load(file).get("project", {})
    except FileNotFoundError:
        project = {}
    if project.get("name") == "patchbay":
        return str(project["version"])
    return metadata.version("patchbay")
