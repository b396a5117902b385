"""LoggedModels as MLflow keeps them: whether they are there, their files, deleting them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from registry.store.client import Store, error_code


def delete_model(store: Store, model_id: str) -> None:
    """Delete a LoggedModel, and its files where they are ours to delete.

    A server keeps the files until ``mlflow gc`` is run on it. It is no error if another process
    deleted it meanwhile.
    """
    from mlflow.exceptions import MlflowException

    try:
        store.client.delete_logged_model(model_id)
    except MlflowException as error:
        if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
            raise
    if (folder := models_folder(store)) is not None:
        shutil.rmtree(folder / model_id, ignore_errors=True)


def is_there(store: Store, model_id: str) -> bool:
    """Whether there is such a LoggedModel that is not deleted."""
    from mlflow.exceptions import MlflowException

    try:
        store.client.get_logged_model(model_id)
    except MlflowException as error:
        if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def models_folder(store: Store) -> Path | None:
    """Where the embedded store keeps the files of LoggedModels, by id; None for a server."""
    return None if store.home is None else store.home / "artifacts" / "models"


def flush(store: Store, model_id: str) -> None:
    """Have the disk keep a LoggedModel's files before a version vouches for them.

    The database is flushed at each commit; without this a power cut could leave a version whose
    files are empty. A server's files are the server's to flush.
    """
    folder = models_folder(store)
    if folder is None:
        return
    for path in (folder, *(folder / model_id).rglob("*"), folder / model_id):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
