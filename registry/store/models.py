"""LoggedModels as MLflow keeps them: their files, and deleting them."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from registry.store.client import Store, error_code


def delete_model(store: Store, model_id: str) -> None:
    """Delete a LoggedModel, and its files where they are ours to delete.

    These are set aside first: what lies there is left over, whatever else is found missing in a
    database. A server keeps the files until ``mlflow gc`` is run on it. It is no error if another
    process deleted it meanwhile.
    """
    from mlflow.exceptions import MlflowException

    folder, aside = models_folder(store), discarded_folder(store)
    if folder is not None and aside is not None:
        aside.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            (folder / model_id).rename(aside / model_id)
    try:
        store.client.delete_logged_model(model_id)
    except MlflowException as error:
        if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
            raise
    if aside is not None:
        shutil.rmtree(aside / model_id, ignore_errors=True)


def discarded_folder(store: Store) -> Path | None:
    """Where the files of models that are being deleted wait; None for a server."""
    return None if store.home is None else store.home / "artifacts" / "discarded"


def models_folder(store: Store) -> Path | None:
    """Where the embedded store keeps the files of LoggedModels, by id; None for a server."""
    return None if store.home is None else store.home / "artifacts" / "models"
