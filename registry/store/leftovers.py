"""What MLflow holds of registrations and moves that never ended."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from registry.owner import UNKNOWN_FOR, is_gone
from registry.store.client import Store, error_code, pages
from registry.store.models import delete_model, discarded_folder
from registry.store.moves import list_moves, move_of
from registry.store.versions import has_versions
from registry.version import OWNER_TAG, TAG_PREFIX

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
    models = pages(store.client.search_logged_models, experiment_ids=[store.experiment_id])
    names = pages(store.client.search_registered_models)
    under_way, unfinished = _running(store)
    # Only now: whatever is not under way had made its versions by then, or never will.
    versions = pages(store.client.search_model_versions)
    used = {str(version.source).removeprefix("models:/") for version in versions}
    named = {version.name for version in versions}
    return [
        *(
            Leftover("run", run_id, f"{name}: its process has ended, the run has not")
            for run_id, name in unfinished.items()
        ),
        *(
            Leftover("model", model.model_id, f"{model.name}, {model.status}: no version of it")
            for model in models
            if _KIND in model.tags
            and model.model_id not in used
            and model.source_run_id not in under_way
        ),
        *(
            Leftover("name", one.name, "there was never a version of it")
            for one in names
            if one.name not in named and _is_abandoned_name(one)
        ),
        *_files(store),
    ]


def clear_leftover(store: Store, leftover: Leftover) -> bool:
    """Remove it, unless it came to be used meanwhile; a run is marked as what became of it.

    Returns:
        Whether it is gone now; it is no error if another process was first.
    """
    try:
        if leftover.what == "run":
            _end_run(store, leftover.which)
            return True
        if leftover.what == "name":
            return _delete_name(store, leftover.which)
        if leftover.what == "model":
            if has_versions(store, leftover.which):
                return False
            delete_model(store, leftover.which)
            return True
    except Exception as error:
        if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
            raise
        return True
    shutil.rmtree(leftover.which, ignore_errors=True)
    return not Path(leftover.which).exists()


def _end_run(store: Store, run_id: str) -> None:
    run = store.client.get_run(run_id)
    if run.info.status == "RUNNING":
        store.client.set_terminated(run_id, _what_became_of(store, run))


def _delete_name(store: Store, name: str) -> bool:
    # Deleting a name takes its versions with it, so it is asked after once more.
    entry = store.client.get_registered_model(name)
    versions = store.client.search_model_versions(f"name = '{name}'", max_results=1)
    if versions or not _is_abandoned_name(entry):
        return False
    store.client.delete_registered_model(name)
    return True


def _running(store: Store) -> tuple[set[str], dict[str, str]]:
    """Runs that may be under way, by id; and those that never ended, id to name.

    A run that is RUNNING when it is read, and whose process has ended when that is asked after,
    may have ended between the two; so it is read once more.
    """
    found = pages(
        store.client.search_runs,
        experiment_ids=[store.experiment_id],
        filter_string="attributes.status = 'RUNNING'",
    )
    ours = [run for run in found if _STEP in run.data.tags]
    under_way = {str(run.info.run_id) for run in ours if _may_be_under_way(run)}
    unfinished = {}
    for run in ours:
        if run.info.run_id not in under_way:
            again = store.client.get_run(run.info.run_id)
            if again.info.status == "RUNNING":
                unfinished[str(run.info.run_id)] = str(run.info.run_name)
    return under_way, unfinished


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


def _what_became_of(store: Store, run: Any) -> str:
    """A killed move is done if the alias moved all the same."""
    killed = move_of(run)
    if killed is None:
        return "KILLED"
    moves = list_moves(store, killed.name, killed.alias)
    happened = any(move.is_done for move in moves if move.run_id == killed.run_id)
    return "FINISHED" if happened else "KILLED"


def _files(store: Store) -> list[Leftover]:
    """Files that were set aside to be deleted; never what lies where models lie."""
    folder = discarded_folder(store)
    if folder is None or not folder.is_dir():
        return []
    return [
        Leftover("files", str(path), "its LoggedModel was being deleted")
        for path in sorted(folder.iterdir())
    ]
