"""What may pass is tried again: a database that is locked, a server that is busy or restarts."""

from __future__ import annotations

import math
import random
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from registry.errors import StoreError

T = TypeVar("T")

ATTEMPTS = 6
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 3.0
_LONGEST_SECONDS = 60.0  # after this, what fails is not tried again

_TRANSIENT_CODES = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_CONFLICT")
_VAGUE_CODES = ("BAD_REQUEST", "INTERNAL_ERROR")
_TRANSIENT_TEXT = re.compile(
    # Two wrote the same row at once; the second finds it the next time (a run's data set).
    r"UNIQUE constraint failed|UniqueViolation|duplicate key value|Duplicate entry"
    # One took a tag away as another was setting it.
    r"|expected to (update|delete) \d+ row"
    # MLflow's own three attempts at the next version of a name that many register.
    r"|Giving up after \d+ attempts"
    r"|database is locked|deadlock detected|could not serialize access"
)
_LASTING_TEXT = re.compile(r"disk is full|readonly database|No space left")
_DATABASE = re.compile(r"\((?:sqlite3|psycopg2)\.[\w.]+\) (.+?)(?: \[SQL|\(Background|$)")
# A call of these makes one more of something: a lost answer must not make two.
_MAKES_ANOTHER = ("create_run", "create_logged_model", "create_model_version")


class PatientClient:
    """An ``MlflowClient`` whose calls are tried again while what stops them may pass.

    Those that would make a second one of something are tried once; `create_once` is for them.

    Args:
        client: an ``MlflowClient``.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if not callable(attribute) or name in _MAKES_ANOTHER:
            return attribute

        def patient(*args: Any, **kwargs: Any) -> Any:
            def call() -> Any:
                return attribute(*args, **kwargs)

            return delete_once(call, name) if name.startswith("delete_") else persist(call, name)

        return patient


def persist(call: Callable[[], T], what: str) -> T:
    """The answer of a call, which is made up to six times in a minute if what fails may pass.

    Args:
        call: must do no harm if it is made twice.
        what: its name, for the message.

    Raises:
        StoreError: if it failed every time; the message says how often and how long it was tried.
    """
    start = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except Exception as error:
            if not is_transient(error):
                raise
            seconds = time.monotonic() - start
            if attempt == ATTEMPTS or seconds > _LONGEST_SECONDS:
                times = "once" if attempt == 1 else f"{attempt} times"
                raise StoreError(
                    f"{what} failed {times} in {seconds:.0f} s, the last time with: "
                    f"{_shortened(error)}; check that the store at PATCHBAY_HOME "
                    "or MLFLOW_TRACKING_URI is up and not overloaded, and try again"
                ) from error
        time.sleep(_pause_seconds(attempt))
    raise AssertionError("the last attempt returns or raises")


def create_once(create: Callable[[], T], find: Callable[[], Sequence[T]], what: str) -> T:
    """Make one of something, also if the answer to the first request is lost on its way back.

    Args:
        create: makes it.
        find: what was made of it so far, the first one first; asked before ``create`` is called
            again.
        what: its name, for the message.

    Raises:
        StoreError: as `persist`.
    """
    asked = False

    def attempt() -> T:
        nonlocal asked
        if asked and (made := find()):
            return made[0]
        asked = True
        return create()

    return persist(attempt, what)


def delete_once(delete: Callable[[], None], what: str) -> None:
    """Delete something, also if the answer to the first request is lost on its way back.

    Args:
        delete: deletes it; MLflow's error for what is not there is one the first time only.
        what: its name, for the message.

    Raises:
        StoreError: as `persist`.
    """
    asked = False

    def attempt() -> None:
        nonlocal asked
        try:
            delete()
        except Exception as error:
            if asked and getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                return
            asked = True
            raise

    persist(attempt, what)


def is_transient(error: BaseException) -> bool:
    """Whether an error is known to pass: another writer, a busy or restarting server, the network.

    What MLflow says of an answer 500, 502, 503 or 504 counts too; it doesn't tell them apart.
    """
    import requests
    import urllib3
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    network = (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.RetryError,
        requests.exceptions.ChunkedEncodingError,
        urllib3.exceptions.HTTPError,
    )
    if isinstance(error, requests.exceptions.SSLError) or _LASTING_TEXT.search(str(error)):
        return False
    if isinstance(error, network):
        return True
    if isinstance(error, sqlite3.Error | OperationalError):
        return _TRANSIENT_TEXT.search(str(error)) is not None
    if not isinstance(error, MlflowException):
        return False
    on_the_way = error.__cause__ or error.__context__  # MLflow's own error doesn't tell
    if isinstance(on_the_way, network):
        return is_transient(on_the_way)
    if error.error_code in _TRANSIENT_CODES:
        return True
    return error.error_code in _VAGUE_CODES and bool(_TRANSIENT_TEXT.search(str(error)))


def _shortened(error: Exception) -> str:
    text = " ".join(str(error).split())  # the cause comes last
    if of_database := _DATABASE.search(text):
        return of_database[1][:300]
    return text if len(text) <= 300 else f"{text[:100]} ... {text[-200:]}"


def _pause_seconds(attempt: int) -> float:
    # Jitter over the whole range: those that met once should not meet again.
    longest = min(math.ldexp(_FIRST_PAUSE_SECONDS, attempt - 1), _LONGEST_PAUSE_SECONDS)
    return longest * random.uniform(0.5, 1.5)
