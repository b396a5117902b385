"""Many processes register at once: nothing is lost, nothing is doubled, nothing is left open."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from registry.registry import Registry
from registry.version import Version
from tests.registry.store.registering import (
    OPENING,
    SHARED,
    Plan,
    Registered,
    register_at_once,
)
from tests.registry.store.servers import Server

logger = logging.getLogger(__name__)

# 25 modules a process: 13 versions of the one name that all share, 12 of names of its own.
PROCESSES, SHARED_EACH, OWN_EACH = 8, 13, 4


def require_all_there(registry: Registry, plan: Plan, done: Sequence[Registered]) -> None:
    """Fail unless the store, asked in MLflow's own terms, holds what was registered and no more."""
    versions = registry.versions("class_module")
    assert len(versions) == plan.modules
    assert {version.uri for version in versions} == {uri for one in done for uri in one.uris}
    assert len({version.model_id for version in versions}) == plan.modules
    assert len({version.digest for version in versions}) == plan.modules
    require_numbered_from_one(versions)
    require_all_closed(registry, models=plan.modules + plan.processes)
    assert registry.versions("strong")[-1].uri == f"models:/{OPENING}/{plan.processes}"


def require_numbered_from_one(versions: Sequence[Version]) -> None:
    numbers: dict[str, list[int]] = {}
    for version in versions:
        numbers.setdefault(version.name, []).append(version.version)
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())


def require_all_closed(registry: Registry, *, models: int) -> None:
    client = MlflowClient(registry.tracking_uri)
    experiment: Any = client.get_experiment_by_name("patchbay")
    runs = client.search_runs([experiment.experiment_id], max_results=50_000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == len({version.run_id for version in registry.versions()})
    statuses: Counter[str] = Counter()
    token = None
    while True:
        page = client.search_logged_models([experiment.experiment_id], page_token=token)
        statuses.update(str(model.status) for model in page)
        token = page.token
        if not token:
            break
    assert dict(statuses) == {"READY": models}


def log_times(where: str, plan: Plan, done: Sequence[Registered]) -> None:
    """Shown with ``--log-cli-level=INFO``."""
    seconds = max(one.seconds for one in done)
    opening = max(one.open_seconds for one in done)
    logger.info(
        "%s: %d modules in %.1f s, %.3f s each; opening took %.1f s",
        where,
        plan.modules,
        seconds,
        seconds / plan.modules,
        opening,
    )


def test_three_processes_register_in_a_fresh_home(tmp_path: Path) -> None:
    plan = Plan(str(tmp_path / "home"), processes=3, shared=2, own=1)
    done = register_at_once(plan, tmp_path)
    registry = Registry.open(tmp_path / "home")
    require_all_there(registry, plan, done)
    for version in registry.versions():
        registry.load(version.uri)


@pytest.mark.slow
@pytest.mark.parametrize(("shared", "own"), [(25, 0), (SHARED_EACH, OWN_EACH)])
def test_eight_processes_register_200_modules_in_a_fresh_home(
    tmp_path: Path, shared: int, own: int
) -> None:
    plan = Plan(str(tmp_path / "home"), PROCESSES, shared, own)
    done = register_at_once(plan, tmp_path)
    log_times("sqlite home", plan, done)
    registry = Registry.open(tmp_path / "home")
    require_all_there(registry, plan, done)
    names = {version.name for version in registry.versions("class_module")}
    assert len(names) == 1 + 3 * PROCESSES * bool(own)
    for version in registry.versions():
        registry.load(version.uri)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite_server", "postgres_backed_server"])
def test_eight_processes_register_200_modules_on_a_server(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
) -> None:
    server: Server = request.getfixturevalue(backend)
    plan = Plan(None, PROCESSES, SHARED_EACH, OWN_EACH)
    before = len(server.log.read_text().splitlines())
    done = register_at_once(plan, tmp_path, tracking_uri=server.url)
    log_times(backend, plan, done)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    registry = Registry.open()
    require_all_there(registry, plan, done)
    lines = server.log.read_text().splitlines()[before:]
    # One request each, but for the few that two made at the same moment.
    assert plan.modules <= sum("model-versions/create" in line for line in lines) < 1.1 * 208
    assert sum("runs/create" in line for line in lines) < 1.1 * len(
        {version.run_id for version in registry.versions()}
    )
    for version in registry.versions()[::10]:
        registry.load(version.uri)
    assert registry.find(f"models:/{SHARED}.zero/{PROCESSES * SHARED_EACH}").kind == "class_module"
