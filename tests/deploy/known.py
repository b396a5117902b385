"""What the manifests in ``deploy`` may name: routes, variables, images."""

from __future__ import annotations

import tomllib
from pathlib import Path

from mlflow import environment_variables

from serving.routes.openapi import OPERATIONS
from serving.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
PAGE = (ROOT / "docs" / "package.md").read_text()

PROBED = {operation.path for operation in OPERATIONS if operation.method == "GET"}
OURS = {PREFIX + name.upper() for name in Settings.model_fields} | {"PATCHBAY_CACHE"}
MLFLOW_S = {
    *(name for name in vars(environment_variables) if name.startswith("MLFLOW_")),
    "MLFLOW_DISABLE_TELEMETRY",  # of its telemetry package
}


def image() -> str:
    """What the page calls the service's image: by the version that it is made from."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return f"patchbay:{tomllib.load(file)['project']['version']}"


def locked() -> dict[str, str]:
    """Name to version of what the tests run with."""
    lines = (ROOT / "requirements-dev.lock").read_text().splitlines()
    pins = (line.split(";")[0].strip().partition("==") for line in lines if "==" in line)
    return {name: version for name, _, version in pins}
