"""MLflow, imported quietly and safely; its errors as ours."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from registry.errors import RegistryError, StoreError
from registry.steps import StepCallback, ignore_step
from registry.store.home import (
    Location,
    creation_lock,
    file_identity,
    global_address_lock,
    locate,
    require_no_models,
)
from registry.store.patience import PatientClient

_EXPERIMENT = "patchbay"
_EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # else MLflow shows it as one of agents
    "mlflow.note.content": (
        "Strong models taken apart into class modules, and weak models patched with them.\n\n"
        "**Models** compares them side by side: `composed_accuracy`, `kernels_kept`, "
        "`multiply_adds`, `tc_f1_gain`. **Runs** tells how each was made, how well it does "
        "(diagnosis), and who moved which alias (promotion, rollback)."
    ),
}
_PAGE = 1000
_MAX_PAGES = 1000
_SQL = re.compile(r" \[SQL: .*?\](?: \[parameters: .*?\])?(?= \(Background on|$)")
_BACKGROUND = re.compile(r" \(Background on this error at: [^)]*\)")
_connected: dict[str, tuple[int, int] | None] = {}  # tracking URI to the database's file
_PASSWORD = re.compile(r"//[^\s/@]*:[^\s/@]*@")


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        client: an ``MlflowClient`` bound to ``tracking_uri``, and patient.
        tracking_uri: the store's address, as ``mlflow ui --backend-store-uri`` takes it.
        experiment_id: where runs and models are logged.
        home: the embedded store's folder; None for a server.
        on_step: told of each step of registering and of moving an alias.
        database: which file was opened, by device and inode; None for a server.
    """

    client: Any
    tracking_uri: str
    experiment_id: str
    home: Path | None
    on_step: StepCallback = ignore_step
    database: tuple[int, int] | None = None

    @property
    def is_remote(self) -> bool:
        """Whether requests to it go over HTTP."""
        return is_http(self.tracking_uri)

    @property
    def is_current(self) -> bool:
        """Whether the file that was opened is the one that is there now; always so of a server.

        A connection to a file that was deleted, or replaced by a copy, goes on without a word.
        """
        location = Location(self.tracking_uri, self.home)
        return location.database is None or file_identity(location.database) == self.database


def is_http(address: str) -> bool:
    """Whether an address is a server's."""
    return address.startswith(("http://", "https://"))


def open_store(
    home: Path | str | None = None, *, on_step: StepCallback = ignore_step, must_exist: bool = False
) -> Store:
    """Open the registry's store, and create it if it is a folder that has none.

    Several processes may do so at once. The first time takes some seconds.

    Args:
        home: see `registry.store.home.locate`.
        on_step: see `Store`.
        must_exist: whether a folder that has none is an error.

    Raises:
        StoreError: if it can't be opened or created.
    """
    location = locate(home)
    if must_exist and location.database is not None and not _has_content(location.database):
        require_no_models(location.database)
        raise StoreError(f"there is no registry in {location.home}; check PATCHBAY_HOME")
    what = f"the store {location.tracking_uri}"
    with wrapped_errors(what):
        import_mlflow(location.tracking_uri)  # seconds, in which nobody should wait for the lock
    with creation_lock(location), wrapped_errors(what):
        if location.database is not None and not _has_content(location.database):
            require_no_models(location.database)
            _create_database(location.database)
        database = None if location.database is None else _connected_to(location)
        client = _client(location.tracking_uri)
        experiment_id = _experiment(client, location.artifact_uri)
    return Store(client, location.tracking_uri, experiment_id, location.home, on_step, database)


@contextmanager
def wrapped_errors(what: str) -> Iterator[None]:
    """Turn what MLflow, its database or the disk raise into a `StoreError` with its cause.

    Raises:
        StoreError: for each of those; our own errors pass through.
    """
    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    # ValueError and ImportError: addresses that MLflow can't read, or has no driver for.
    foreign = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ValueError, ImportError)
    try:
        yield
    except RegistryError:
        raise
    except (*foreign, requests.RequestException) as error:
        reason = _BACKGROUND.sub("", _SQL.sub("", " ".join(str(error).split())))[:300]
        told = f"{what} can't be used: {reason}; check PATCHBAY_HOME or MLFLOW_TRACKING_URI"
        raise StoreError(_PASSWORD.sub("//***@", told)) from error


@contextmanager
def as_global_address(store: Store) -> Iterator[None]:
    """Make the store the process's default for a moment, and give the old default back.

    MLflow looks a model up in the default store when a version is made from it, whatever
    store the client is bound to.
    """
    import mlflow

    with global_address_lock:
        before = os.environ.get("MLFLOW_TRACKING_URI")
        os.environ["MLFLOW_TRACKING_URI"] = store.tracking_uri
        overruling = mlflow.get_tracking_uri()
        try:
            if overruling == store.tracking_uri:
                yield
            else:  # somebody called set_tracking_uri, which overrules the environment
                mlflow.set_tracking_uri(store.tracking_uri)
                try:
                    yield
                finally:
                    mlflow.set_tracking_uri(overruling)
        finally:
            if before is None:
                os.environ.pop("MLFLOW_TRACKING_URI", None)
            else:
                os.environ["MLFLOW_TRACKING_URI"] = before


def pages(search: Any, **arguments: Any) -> list[Any]:
    """All that a search of the client's gives, page after page.

    Args:
        search: such as ``client.search_runs``.
        arguments: its own, but for the pages.

    Raises:
        StoreError: if there are more than 1,000 pages.
    """
    entries: list[Any] = []
    token = None
    for _ in range(_MAX_PAGES):
        page = search(max_results=_PAGE, page_token=token, **arguments)
        entries.extend(page)
        token = page.token
        if not token:
            return entries
    raise StoreError(f"the store's listing has no end: {_MAX_PAGES} pages of {_PAGE} were read")


def error_code(error: Exception) -> str:
    """MLflow's name for an error, such as ``RESOURCE_DOES_NOT_EXIST``; empty for others."""
    return str(getattr(error, "error_code", ""))


def import_mlflow(tracking_uri: str) -> None:
    """Import what a store at this address takes: MLflow, and its tables unless it is a server."""
    _prepare_environment()
    import_module("mlflow")
    _quieten()
    if not is_http(tracking_uri):
        _import_tables()


def _has_content(database: Path) -> bool:
    if not database.exists():
        return False
    if not database.is_file():  # MLflow would try to open it for minutes
        raise StoreError(f"expected a database at {database}, found what is no file")
    return database.stat().st_size > 0


def _create_database(database: Path) -> None:
    """Let MLflow make its tables in a file that gets its name when all of them are there.

    They are made one by one: a process that was stopped at it would leave a database that no
    other can open or complete.
    """
    unfinished = database.with_name(f"{database.name}.unfinished")
    for left in database.parent.glob(f"{unfinished.name}*"):  # by a process that was stopped
        left.unlink()
    tables = import_module("mlflow.store.tracking.sqlalchemy_store")
    artifacts = (database.parent / "artifacts").as_uri()
    store = tables.SqlAlchemyStore(f"sqlite:///{unfinished}", artifacts)
    store.engine.dispose()
    unfinished.rename(database)


def _connected_to(location: Location) -> tuple[int, int] | None:
    """The file that connections lead to from now on; those that led to another are closed."""
    assert location.database is not None
    found = file_identity(location.database)
    if _connected.setdefault(location.tracking_uri, found) != found:
        _connected[location.tracking_uri] = found
        for kind in ("tracking", "model_registry"):  # MLflow keeps an engine an address of each
            stores = import_module(f"mlflow.store.{kind}.sqlalchemy_store").SqlAlchemyStore
            engine = stores._engine_map.get(location.tracking_uri)
            if engine is not None:
                engine.dispose()
    return found


def _client(tracking_uri: str) -> Any:
    from mlflow import MlflowClient

    return PatientClient(MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri))


def _import_tables() -> None:
    with warnings.catch_warnings():  # MLflow's tables use a loader that SQLAlchemy deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        import_module("mlflow.store.tracking.sqlalchemy_store")


def _prepare_environment() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    # MLflow would send any request again, also one that makes a second run or version; what may
    # be sent again is sent by the patient client.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def _quieten() -> None:
    # MLflow gives its loggers a handler on stderr; what goes wrong reaches us as an exception.
    for name, level in (
        ("mlflow", logging.WARNING),
        ("alembic", logging.WARNING),
        ("mlflow.store.db.utils", logging.CRITICAL),
    ):
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, level))


def _experiment(client: Any, artifact_uri: str | None) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(_EXPERIMENT)
    if experiment is None:
        try:
            return str(
                client.create_experiment(
                    _EXPERIMENT, artifact_location=artifact_uri, tags=_EXPERIMENT_TAGS
                )
            )
        except MlflowException as error:
            if error_code(error) != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment = client.get_experiment_by_name(_EXPERIMENT)  # another process was first
    if experiment is None or experiment.lifecycle_stage != "active":
        raise StoreError(
            f"MLflow's experiment {_EXPERIMENT!r} was deleted; bring it back with "
            "'mlflow experiments restore'"
        )
    return str(experiment.experiment_id)
