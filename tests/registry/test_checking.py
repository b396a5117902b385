"""A check looks at what is there now, and never takes what came to be meanwhile for left over."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from registry.owner import UNKNOWN_FOR
from registry.registry import Registry
from registry.scratch import abandoned
from registry.store.leftovers import Leftover, clear_leftover, find_leftovers
from registry.version import OWNER_TAG
from tests.registry.conftest import client_of, make_trained

ENDED = "from registry.owner import this_process; print(this_process())"


@pytest.fixture
def ended() -> str:
    """A process that has ended."""
    return subprocess.check_output([sys.executable, "-c", ENDED], text=True).strip()


@pytest.mark.parametrize(
    "read",
    [
        "search_logged_models",
        pytest.param("search_runs", marks=pytest.mark.slow),
        pytest.param("search_model_versions", marks=pytest.mark.slow),
    ],
)
def test_a_version_that_is_made_while_a_check_looks_is_not_taken_for_left_over(
    registry: Registry, fresh_name: str, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """The process makes its version and ends right after one of the check's reads."""
    code = (
        "import sys\n"
        "from registry.registry import Registry\n"
        "from registry.steps import Step\n"
        "from tests.registry.conftest import make_trained\n"
        "def wait(step):\n"
        "    if step is Step.READY:\n"
        "        print('ready', flush=True); sys.stdin.readline()\n"
        "Registry.open(sys.argv[1], on_step=wait).add_classifier(make_trained(sys.argv[2]))\n"
    )
    home = registry.tracking_uri.removeprefix("sqlite:///").removesuffix("/mlflow.db")
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(
        [sys.executable, "-c", code, home, fresh_name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        store: Any = registry._store
        search = getattr(store.client._client, read)

        def then_it_ends(*args: Any, **kwargs: Any) -> Any:
            found = search(*args, **kwargs)
            if process.poll() is None:
                process.communicate("go on\n")
            return found

        monkeypatch.setattr(store.client._client, read, then_it_ends)
        left = registry.check(clear=True, load=False).leftovers
    assert process.returncode == 0
    uri = f"models:/{fresh_name}/1"
    version = registry.find(uri)
    made = {fresh_name, version.model_id, version.run_id}
    assert not [one for one in left if one.which in made]
    assert registry.load(uri).version.uri == uri
    assert store.client.get_run(version.run_id).info.status == "FINISHED"


def test_what_came_to_be_used_after_it_was_found_is_not_cleared(
    registry: Registry, fresh_name: str, ended: str
) -> None:
    store: Any = registry._store
    uri = registry.add_classifier(make_trained(fresh_name))
    client_of(registry).set_registered_model_tag(fresh_name, OWNER_TAG, ended)
    version = registry.find(uri)
    for what, which in (("name", fresh_name), ("model", version.model_id), ("run", version.run_id)):
        clear_leftover(store, Leftover(what, which, "found a moment ago"))  # type: ignore[arg-type]
    assert registry.load(uri).version.uri == uri
    assert store.client.get_run(version.run_id).info.status == "FINISHED"


def test_a_name_of_a_dead_process_is_taken_over(
    registry: Registry, fresh_name: str, ended: str
) -> None:
    client = client_of(registry)
    tags = {"patchbay.kind": "strong", OWNER_TAG: ended}
    client.create_registered_model(fresh_name, tags=tags)
    assert ("name", fresh_name) in {
        (one.what, one.which) for one in find_leftovers(registry._store)
    }
    registry.add_classifier(make_trained(fresh_name))
    assert OWNER_TAG not in client.get_registered_model(fresh_name).tags


def test_clearing_what_is_gone_already_is_no_error(registry: Registry) -> None:
    for what, which in (("name", "gone"), ("model", "m-" + "0" * 32), ("run", "0" * 32)):
        clear_leftover(registry._store, Leftover(what, which, "it was there"))  # type: ignore[arg-type]


def test_one_version_whose_logged_model_is_deleted_does_not_end_a_check(
    registry: Registry, fresh_name: str
) -> None:
    uri = registry.add_classifier(make_trained(fresh_name, seed=31))
    client_of(registry).delete_logged_model(registry.find(uri).model_id)
    broken = {one.uri: one.reason for one in registry.check(clear=False).broken}
    assert "was deleted" in broken[uri]


def test_folders_of_another_machine_wait_a_day(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere.0.1+7+9+abc"
    folder.mkdir()
    (tmp_path / "not ours").mkdir()
    assert abandoned(tmp_path) == []
    long_ago = time.time() - UNKNOWN_FOR.total_seconds() - 60
    os.utime(folder, (long_ago, long_ago))
    os.utime(tmp_path / "not ours", (long_ago, long_ago))
    assert abandoned(tmp_path) == [folder]
