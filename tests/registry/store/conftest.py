from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.registry.store.servers import (
    Server,
    fresh_folder,
    missing_for_postgres,
    mlflow_server,
    postgres_server,
)


@pytest.fixture(scope="session")
def sqlite_server() -> Iterator[Server]:
    """An MLflow server on a sqlite file, started once."""
    with fresh_folder() as folder, mlflow_server(folder) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_backed_server() -> Iterator[Server]:
    """An MLflow server on PostgreSQL, started once."""
    if reason := missing_for_postgres():
        pytest.skip(reason)
    with (
        fresh_folder() as folder,
        postgres_server() as backend_uri,
        mlflow_server(folder, backend_uri) as server,
    ):
        yield server
