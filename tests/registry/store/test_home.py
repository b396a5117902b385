from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest

from registry.errors import StoreError
from registry.registry import Registry
from registry.steps import Step
from registry.store.client import as_global_address, open_store
from registry.store.home import locate
from tests.registry.conftest import make_trained

REGISTER = """
import sys
from registry.registry import Registry
from registry.steps import Step
from tests.registry.conftest import make_trained
print(Registry.open(sys.argv[1]).add_classifier(make_trained("shared", seed=int(sys.argv[2]))))
"""


def run_at_once(code: str, home: Path, processes: int) -> list[str]:
    """What each of several processes printed; fails if one complained."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(home), str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )
        for number in range(processes)
    ]
    answers = [process.communicate(timeout=300) for process in running]
    assert [stderr for _, stderr in answers] == [""] * processes
    assert [process.returncode for process in running] == [0] * processes
    return [stdout.strip() for stdout, _ in answers]


def test_the_home_is_the_argument_then_the_server_then_the_variable_then_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate().home == tmp_path / ".patchbay"
    monkeypatch.setenv("PATCHBAY_HOME", "somewhere")
    assert locate().home == tmp_path / "somewhere"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert locate().tracking_uri == "http://127.0.0.1:9"
    assert locate().home is None
    assert locate(tmp_path / "mine").tracking_uri == f"sqlite:///{tmp_path}/mine/mlflow.db"


def test_an_address_that_another_thread_sets_for_a_moment_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATCHBAY_HOME", "somewhere")
    store = open_store(tmp_path)
    with ThreadPoolExecutor() as threads:
        with as_global_address(store):
            assert os.environ["MLFLOW_TRACKING_URI"] == store.tracking_uri
            asked = threads.submit(locate)
            with pytest.raises(TimeoutError):
                asked.result(timeout=0.2)
        found = asked.result(timeout=60)
    assert found.home is not None
    assert found.home.name == "somewhere"


def test_a_home_that_can_not_be_part_of_an_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="'\\?'"):
        locate(tmp_path / "what?")


def test_a_home_of_an_unknown_user_is_refused() -> None:
    with pytest.raises(StoreError, match="expected a folder"):
        locate("~nobody-at-all/x")


def test_a_home_below_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="home folder that can be written"):
        Registry.open(tmp_path / "file" / "home")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_without_write_permission_is_one_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="home folder that can be written"):
            Registry.open(tmp_path / "home")
    finally:
        tmp_path.chmod(0o700)


def test_a_broken_database_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="file is not a database; check") as caught:
        Registry.open(tmp_path)
    assert "SQL" not in str(caught.value)


def test_a_folder_in_place_of_the_database_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").mkdir()
    started = monotonic()
    with pytest.raises(StoreError, match=r"expected a database at .*mlflow\.db"):
        Registry.open(tmp_path)
    assert monotonic() - started < 60  # MLflow alone tries for more than a minute


def test_a_file_store_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    with pytest.raises(StoreError, match="can't be used"):
        Registry.open()


def test_a_home_with_a_blank_and_an_accent_works(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path / "modèles de test")
    assert registry.versions() == []
    assert (tmp_path / "modèles de test" / "mlflow.db").is_file()


@pytest.mark.slow
def test_four_processes_at_once_register_in_a_fresh_home_and_lose_nothing(tmp_path: Path) -> None:
    uris = run_at_once(REGISTER, tmp_path / "home", 4)
    assert sorted(uris) == [f"models:/shared/{number}" for number in range(1, 5)]
    registry = Registry.open(tmp_path / "home")
    assert len({version.digest for version in registry.versions()}) == 4
    for version in registry.versions():
        registry.load_classifier(version.uri)


@pytest.mark.parametrize("harm", ["emptied", "removed"])
def test_models_whose_database_is_lost_are_left_alone(tmp_path: Path, harm: str) -> None:
    registry = Registry.open(tmp_path)
    uri = registry.add_classifier(make_trained("kept"))
    database, kept = tmp_path / "mlflow.db", tmp_path / "kept.db"
    database.rename(kept)
    if harm == "emptied":
        database.touch()
    with pytest.raises(StoreError, match=r"is gone or empty, but .* holds the files of 1 models"):
        Registry.open(tmp_path)
    kept.replace(database)
    Registry.open(tmp_path).load(uri)


def test_a_check_clears_no_model_that_an_older_database_does_not_know(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path)
    registry.add_classifier(make_trained("older"))
    older = shutil.copy(tmp_path / "mlflow.db", tmp_path / "older.db")
    newer = shutil.copy(tmp_path / "mlflow.db", tmp_path / "newer.db")
    uri = registry.add_classifier(make_trained("newer"))
    shutil.copy(tmp_path / "mlflow.db", newer)
    shutil.copy(older, tmp_path / "mlflow.db")
    assert Registry.open(tmp_path).check(clear=True).leftovers == ()
    shutil.copy(newer, tmp_path / "mlflow.db")
    Registry.open(tmp_path).load(uri)


def test_a_password_in_the_store_s_address_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mysql://somebody:secret@127.0.0.1:1/x")
    with pytest.raises(StoreError, match="can't be used") as caught:
        Registry.open()
    assert "secret" not in str(caught.value)


def test_the_disk_keeps_files_and_their_names_before_a_version_vouches_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Path] = []
    at_version: list[set[Path]] = []
    fsync = os.fsync

    def on_step(step: Step) -> None:
        if step is Step.VERSIONED:
            at_version.append(set(kept))

    def recorded(descriptor: int) -> None:
        kept.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    registry = Registry.open(tmp_path, on_step=on_step)
    monkeypatch.setattr(os, "fsync", recorded)
    uri = registry.add_classifier(make_trained("first"))
    folder = tmp_path / "artifacts" / "models" / registry.find(uri).model_id
    made = {folder, *folder.rglob("*"), *folder.parents[: folder.parents.index(tmp_path) + 1]}
    assert {path.name for path in made} >= {"bundle.json", "weights.safetensors", "history.json"}
    assert at_version[0] >= made


def test_a_copy_of_a_home_takes_new_versions(tmp_path: Path) -> None:
    """MLflow keeps its folder for files as it was first: the copy's new files go there, too."""
    Registry.open(tmp_path / "home").add_classifier(make_trained("first"))
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    registry = Registry.open(tmp_path / "copy")
    second = registry.add_classifier(make_trained("first", seed=1))
    assert registry.check(clear=False).broken == ()
    assert registry.load(second).version.version == 2


def test_a_database_that_was_replaced_is_opened_and_not_the_one_that_is_gone(
    tmp_path: Path,
) -> None:
    home, backup = tmp_path / "home", tmp_path / "backup"
    registry = Registry.open(home)
    registry.add_classifier(make_trained("first"))
    shutil.copytree(home, backup)
    registry.add_classifier(make_trained("second"))
    assert registry.is_current
    (home / "mlflow.db").unlink()
    assert not registry.is_current
    shutil.copy(backup / "mlflow.db", home)
    assert not registry.is_current
    found = Registry.open(home)
    assert found.is_current
    assert [one.name for one in found.versions()] == ["first"]
