"""What may pass is tried again, a bounded number of times; what may not is told at once."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

import pytest
import requests
import sqlalchemy
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
)

from registry.errors import StoreError
from registry.registry import Registry
from registry.store import patience
from registry.store.patience import create_once, delete_once, is_transient, persist
from tests.registry.conftest import make_trained


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST_PAUSE_SECONDS", 0.001)


class Busy:
    """Fails so often before it answers with the number of the call."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or requests.ConnectionError("gone")
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return self.calls


def test_what_passes_is_tried_again() -> None:
    assert persist(Busy(failures=5), "it") == 6


def test_a_tag_that_another_took_away_meanwhile_is_set_again() -> None:
    lost = MlflowException(
        "UPDATE statement on table 'registered_model_tags' expected to update 1 row(s); "
        "0 were matched.",
        error_code=BAD_REQUEST,
    )
    assert persist(Busy(failures=1, error=lost), "it") == 2


def test_what_does_not_pass_is_tried_six_times() -> None:
    busy = Busy(failures=100)
    with pytest.raises(StoreError, match=r"it failed 6 times in \d+ s, the last time with: gone"):
        persist(busy, "it")
    assert busy.calls == 6


def test_nothing_is_tried_again_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_LONGEST_SECONDS", -1.0)
    busy = Busy(failures=100)
    with pytest.raises(StoreError, match="it failed once"):
        persist(busy, "it")
    assert busy.calls == 1


@pytest.mark.parametrize(
    "error",
    [
        MlflowException("no such run", error_code=RESOURCE_DOES_NOT_EXIST),
        MlflowException("UNIQUE constraint failed", error_code=RESOURCE_ALREADY_EXISTS),
        MlflowException("wrong parameter"),
        requests.exceptions.SSLError("wrong certificate"),
        sqlite3.DatabaseError("file is not a database"),
        ValueError("database is locked"),
        MlflowException("(OperationalError) database or disk is full", TEMPORARILY_UNAVAILABLE),
        sqlite3.OperationalError("attempt to write a readonly database"),
        KeyboardInterrupt(),
    ],
)
def test_what_can_not_pass_is_told_at_once(error: BaseException) -> None:
    calls = []

    def fail() -> None:
        calls.append(error)
        raise error

    with pytest.raises(type(error)):
        persist(fail, "it")
    assert len(calls) == 1


def test_a_lost_answer_makes_no_second_one() -> None:
    made: list[int] = []

    def create() -> int:
        made.append(len(made) + 1)
        raise requests.ConnectionError("the answer was lost")

    assert create_once(create, lambda: made, "it") == 1
    assert made == [1]


def test_what_is_gone_after_a_lost_answer_was_deleted() -> None:
    there = {"it"}

    def delete() -> None:
        if not there:
            raise MlflowException("gone", error_code=RESOURCE_DOES_NOT_EXIST)
        there.clear()
        raise requests.ConnectionError("the answer was lost")

    delete_once(delete, "it")
    with pytest.raises(MlflowException, match="gone"):
        delete_once(delete, "it")


def test_what_was_not_made_is_asked_for_again() -> None:
    busy = Busy(failures=2)
    assert create_once(busy, list, "it") == 3


def test_a_database_that_somebody_else_writes_to_is_waited_for(
    registry: Registry, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "_FIRST_PAUSE_SECONDS", 0.3)
    impatient = MlflowClient(registry.tracking_uri)
    database = registry.tracking_uri.removeprefix("sqlite:///")
    monkeypatch.setattr("sqlalchemy.sql.text", _impatient_text(sqlalchemy.text))
    writer = sqlite3.connect(database, check_same_thread=False)
    writer.execute("begin immediate")
    with pytest.raises(MlflowException, match="database is locked") as refused:
        impatient.create_registered_model(f"{fresh_name}-other")
    assert is_transient(refused.value)
    timer = threading.Timer(0.5, writer.rollback)
    timer.start()
    try:
        uri = registry.add_classifier(make_trained(fresh_name))
    finally:
        timer.join()
        writer.close()
    assert [v.uri for v in registry.versions() if v.name == fresh_name] == [uri]


def _impatient_text(original: Any) -> Any:
    """SQLAlchemy's ``text``, with MLflow's waiting time of 20 s for sqlite cut to nothing."""

    def text(statement: str) -> Any:
        return original(statement.replace("busy_timeout = 20000", "busy_timeout = 1"))

    return text


def test_a_wrong_address_is_told_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match=r"failed 6 times.*127\.0\.0\.1.*MLFLOW_TRACKING_URI"):
        Registry.open()
