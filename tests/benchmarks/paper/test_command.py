from __future__ import annotations

import json
from pathlib import Path

import pytest
from filelock import FileLock

from benchmarks.paper.experiment import Experiment
from benchmarks.paper.results import SUMMARY, TABLES, write_results
from tests.benchmarks.paper.conftest import TINY
from tests.patchbay.running import Ran, run_command


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("track") / "tiny.toml"
    file.write_text(TINY)
    return file


def bench(*arguments: str | Path) -> Ran:
    return run_command("bench", "paper", *map(str, arguments))


def test_a_finished_track_is_shown_and_written(track: Path, images: Path, done: Experiment) -> None:
    place = done.workspace.folder
    asked = ("--track", track, "--data", images, "--out", place)
    ran = bench(*asked)
    assert ran.code == 0, ran.err
    assert "6 weak models" in ran.out
    assert "best replacement" in ran.out
    assert "of accuracy lost" in ran.out
    summary = json.loads((place / "results" / SUMMARY).read_text())
    told = bench(*asked, "--json").json
    assert told["paper"] == summary["paper"]
    assert (place / "results" / TABLES).is_file()


def test_two_runs_of_one_folder_do_not_meet(track: Path, images: Path, tmp_path: Path) -> None:
    with FileLock(tmp_path / "running.lock"):
        ran = bench("--track", track, "--data", images, "--out", tmp_path)
    assert ran.code == 1
    assert "another process is at this folder already" in ran.err
    assert not (tmp_path / "tiny-cifar").exists()


def test_the_steps_are_listed_with_their_share_of_the_work(
    track: Path, images: Path, done: Experiment, tmp_path: Path
) -> None:
    asked = ("--track", track, "--data", images, "--list", "--out")
    rows = bench(*asked, done.workspace.folder, "--json").json
    assert [row["step"] for row in rows] == [step.name for step in done.steps()]
    assert all(row["done"] for row in rows)
    assert sum(row["share_of_work"] for row in rows) == pytest.approx(1)
    shown = bench(*asked, tmp_path, "--only", "*/cat").out
    assert "9 steps, 0 done" in shown
    assert "tiny-cifar/weak/cat/plain" in shown
    assert "ship" not in shown


def test_published_scores_are_made_tables_of_again(done: Experiment, tmp_path: Path) -> None:
    write_results(done, tmp_path / "published")
    ran = bench("--scores", tmp_path / "published", "--out", tmp_path / "again")
    assert ran.code == 0, ran.err
    assert "6 weak models" in ran.out
    again = (tmp_path / "again" / TABLES).read_text()
    assert again == (tmp_path / "published" / TABLES).read_text()
    assert bench("--scores", tmp_path, "--out", tmp_path / "x").code == 1
    assert "holds no results" in bench("--scores", tmp_path, "--out", tmp_path / "x").err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--track", "huge"], "no track 'huge'; there are quick, small, full"),
        (["--only", "simcnn-cifar/cow"], "no weak models 'simcnn-cifar/cow'"),
        (["--refit"], "--refit goes with --scores"),
        (["--scores", "."], "--scores goes with --out"),
        (["--scores", ".", "--out", "x", "--only", "a/b"], "--only does not go with --scores"),
        (["--scores", ".", "--out", "x", "--track", "full"], "--track does not go with --scores"),
        (["--scores", ".", "--out", "x", "--list"], "--list does not go with --scores"),
        (["--time-limit", "0"], "0"),
        (["--time-limit", "nan"], "nan is not a finite number"),
    ],
)
def test_what_can_not_be_done_is_said_at_once(arguments: list[str], said: str) -> None:
    ran = bench(*arguments)
    assert ran.code != 0
    assert said in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no = toml = at all", "is no TOML"),
        (TINY.replace('"cat", "ship"', '"cat", "cow"'), "target classes of cifar are"),
        (TINY.replace("epochs = 5", "epochs = 0"), "epochs"),
        (TINY.replace('name = "tiny"', f'name = "tiny"\nmore = "{"x" * 5000}"'), "xxx..."),
    ],
)
def test_a_broken_track_is_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "track.toml"
    file.write_text(text)
    ran = bench("--track", file, "--out", tmp_path)
    assert ran.code != 0
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert len(ran.err) < 2000


def test_images_that_are_missing_are_named(track: Path, tmp_path: Path) -> None:
    (tmp_path / "cifar10.npz").write_bytes(b"no archive")
    (tmp_path / "cifar100_subset.npz").write_bytes(b"no archive")
    ran = bench("--track", track, "--data", tmp_path, "--out", tmp_path / "out", "--list")
    assert ran.code == 1
    assert "cifar10.npz" in ran.err
