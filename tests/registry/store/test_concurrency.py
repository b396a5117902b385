"""Many processes register at once: nothing is lost, nothing is doubled, nothing is left open."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput

from registry.registry import Registry
from registry.store.client import open_store
from registry.version import Version
from tests.registry.store.registering import (
    Plan,
    Registered,
    register_at_once,
)
from tests.registry.store.servers import Server

logger = logging.getLogger(__name__)

# 25 modules a process: 13 versions of the one name that all share, 12 of names of its own.
PROCESSES, SHARED_EACH, OWN_EACH = 8, 13, 4


def require_all_there(registry: Registry, plan: Plan, done: Sequence[Registered]) -> list[Version]:
    """The plan's versions; fails unless the store holds what was registered and no more."""
    ours = [v for v in registry.versions() if v.name.startswith(plan.prefix)]
    modules = [version for version in ours if version.kind == "class_module"]
    assert len(modules) == plan.modules
    assert {version.uri for version in modules} == {uri for one in done for uri in one.uris}
    assert len({version.digest for version in modules}) == plan.modules
    assert len({version.model_id for version in ours}) == len(ours)
    numbers: dict[str, list[int]] = {}
    for version in ours:
        numbers.setdefault(version.name, []).append(version.version)
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    assert numbers[plan.strong_name][-1] == plan.processes
    require_nothing_else(registry, plan, ours)
    return ours


def require_nothing_else(registry: Registry, plan: Plan, ours: Sequence[Version]) -> None:
    """Fail if there is a run or a LoggedModel that is not one version's, or is not closed."""
    client = MlflowClient(registry.tracking_uri)
    experiment: Any = client.get_experiment_by_name("patchbay")
    runs = client.search_runs([experiment.experiment_id], max_results=50_000)
    found = {run.info.run_id: run for run in runs if f": {plan.prefix}" in run.info.run_name}
    assert found.keys() == {version.run_id for version in ours}
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    models: dict[str, str] = {}
    token = None
    while True:
        page = client.search_logged_models([experiment.experiment_id], page_token=token)
        models |= {m.model_id: str(m.status) for m in page if m.name.startswith(plan.prefix)}
        token = page.token
        if not token:
            break
    assert models == {version.model_id: "READY" for version in ours}


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


def test_four_processes_open_and_register_in_a_fresh_home(tmp_path: Path) -> None:
    plan = Plan(str(tmp_path / "home"), processes=4, shared=1, own=1)
    done = register_at_once(plan, tmp_path)
    registry = Registry.open(tmp_path / "home")
    for version in require_all_there(registry, plan, done):
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
    versions = require_all_there(registry, plan, done)
    # The strong models', the shared one, and three of each process.
    assert len({version.name for version in versions}) == 2 + 3 * PROCESSES * bool(own)
    for version in versions:
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
    versions = require_all_there(registry, plan, done)
    lines = server.log.read_text().splitlines()[before:]
    # One request a version and a run, but for a few that two made at the same moment.
    asked = sum("POST" in line and "model-versions/create" in line for line in lines)
    assert len(versions) <= asked < 1.1 * len(versions)
    runs = {version.run_id for version in versions}
    assert len(runs) <= sum("runs/create" in line for line in lines) < 1.1 * len(runs)
    for version in versions[::10]:
        registry.load(version.uri)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite_server", "postgres_backed_server"])
def test_runs_that_name_a_new_data_set_at_once_all_get_it(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    # A server looks for the data set and then writes it: of two at once one is refused.
    server: Server = request.getfixturevalue(backend)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    store = open_store()
    experiment_id = store.client.create_experiment(f"data sets at once, {backend}")
    runs = [store.client.create_run(experiment_id).info.run_id for _ in range(PROCESSES)]
    together = Barrier(PROCESSES)

    def log(run_id: str) -> None:
        for number in range(5):
            together.wait(timeout=60)
            data = DatasetInput(Dataset(f"data-{number}", "digest", "patchbay", "{}"), [])
            store.client.log_inputs(run_id, datasets=[data])

    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(log, runs))
    for run_id in runs:
        assert len(store.client.get_run(run_id).inputs.dataset_inputs) == 5
