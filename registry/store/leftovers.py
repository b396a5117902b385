"""What MLflow holds of registrations and moves that never ended."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from registry.owner import is_gone
from registry.store.client import Store, error_code, pages
from registry.store.moves import move_of
from registry.version import OWNER_TAG, TAG_PREFIX

UNKNOWN_FOR = timedelta(hours=24)
"""How long what another machine began is taken for work in progress."""

_KIND, _STEP = f"{TAG_PREFIX}kind", f"{TAG_PREFIX}step"


@dataclass(frozen=True)
class Leftover:
    """Something that a killed or failed process left behind.

    Attributes:
        what: an MLflow run that never ended; a LoggedModel that is no version's; the files of
            one that is deleted; a registered name without a version; a folder of work.
        which: its id, name or path.
        why: how it came to be left.
    """

    what: Literal["run", "model", "files", "name", "folder"]
    which: str
    why: str


def find_leftovers(store: Store) -> list[Leftover]:
    """What nobody is at work on any more; nothing is changed."""
    # In this order: what is finished between two of these reads is taken for unfinished by none.
    models = pages(store.client.search_logged_models, experiment_ids=[store.experiment_id])
    runs = {run.info.run_id: run for run in _runs(store)}
    versions = pages(store.client.search_model_versions)
    names = pages(store.client.search_registered_models)
    used = {str(version.source).removeprefix("models:/") for version in versions}
    return [
        *(
            Leftover("run", run_id, f"{run.info.run_name}: its process has ended, the run has not")
            for run_id, run in runs.items()
            if run.info.status == "RUNNING" and not _may_be_under_way(run)
        ),
        *(
            Leftover("model", model.model_id, f"{model.name}, {model.status}: no version of it")
            for model in models
            if _KIND in model.tags
            and model.model_id not in used
            and not _is_made_by(runs.get(model.source_run_id))
        ),
        *(
            Leftover("name", one.name, "there was never a version of it")
            for one in names
            if one.name not in {version.name for version in versions} and _is_abandoned_name(one)
        ),
        *_files(store, {str(model.model_id) for model in models}),
    ]


def clear_leftover(store: Store, leftover: Leftover) -> None:
    """Remove it; a run is marked as what became of it and stays as a record."""
    if leftover.what == "run":
        store.client.set_terminated(leftover.which, _what_became_of(store, leftover.which))
    elif leftover.what == "name":
        store.client.delete_registered_model(leftover.which)
    elif leftover.what == "model":
        delete_model(store, leftover.which)
    else:
        shutil.rmtree(leftover.which, ignore_errors=True)


def delete_model(store: Store, model_id: str) -> None:
    """Delete a LoggedModel, and its files where they are ours to delete.

    A server keeps the files until ``mlflow gc`` is run on it.
    """
    store.client.delete_logged_model(model_id)
    if (folder := _models_folder(store)) is not None:
        shutil.rmtree(folder / model_id, ignore_errors=True)


def _runs(store: Store) -> list[Any]:
    found = pages(store.client.search_runs, experiment_ids=[store.experiment_id])
    return [run for run in found if _STEP in run.data.tags]


def _is_made_by(run: Any) -> bool:
    """Whether a run may still make a version of its models."""
    return run is not None and run.info.status == "RUNNING" and _may_be_under_way(run)


def _may_be_under_way(run: Any) -> bool:
    gone = is_gone(run.data.tags.get(OWNER_TAG, ""))
    if gone is None:
        began = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
        return datetime.now(UTC) - began < UNKNOWN_FOR
    return not gone


def _is_abandoned_name(entry: Any) -> bool:
    owner = entry.tags.get(OWNER_TAG)  # it goes with the first version
    if owner is None:
        return False
    gone = is_gone(owner)
    if gone is None:
        began = datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC)
        return datetime.now(UTC) - began >= UNKNOWN_FOR
    return gone


def _what_became_of(store: Store, run_id: str) -> str:
    move = move_of(store.client.get_run(run_id))
    if move is None:
        return "KILLED"
    number = store.client.get_registered_model(move.name).aliases.get(move.alias)
    happened = (None if number is None else int(number)) == move.after
    return "FINISHED" if happened else "KILLED"


def _files(store: Store, listed: Collection[str]) -> list[Leftover]:
    """Folders of LoggedModels that are deleted, or are gone from the database."""
    folder = _models_folder(store)
    if folder is None or not folder.is_dir():
        return []
    return [
        Leftover("files", str(path), "the LoggedModel is deleted, its files are not")
        for path in sorted(folder.iterdir())
        if path.name not in listed and not _is_there(store, path.name)
    ]


def _is_there(store: Store, model_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        store.client.get_logged_model(model_id)
    except MlflowException as error:
        if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def _models_folder(store: Store) -> Path | None:
    return None if store.home is None else store.home / "artifacts" / "models"
