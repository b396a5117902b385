"""Many images into a folder of Parquet files, by the command as it is typed."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from PIL import Image

from modularizer.datasets.digits import read_digits
from patchbay.commands.predict import UNREADABLE
from serving.scoring.scoring import ScoringSettings
from tests.holding import held_process
from tests.patchbay.running import Ran, Shop, run_command

COLUMNS = ["image", "label", "score", "weak_label", "weak_score", "changed_by", "scores", "error"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred real digits as PNG files, ten in a folder."""
    root = tmp_path_factory.mktemp("digits")
    for index, image in enumerate(read_digits().images[:100]):
        folder = root / f"{index // 10}0"
        folder.mkdir(exist_ok=True)
        Image.fromarray(image[:, :, 0]).save(folder / f"{index:03}.png")
    return root


def refused(ran: Ran, code: int, *expected: str) -> None:
    assert (ran.code, ran.out) == (code, "")
    assert "Traceback" not in ran.err
    assert "defect" not in ran.err
    for text in expected:
        assert text in ran.err


def test_the_files_hold_what_predict_says_of_each_image(
    shop: Shop, digits: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ran = shop.run("predict", shop.patched, str(digits), "--out", str(out))
    assert ran.code == 0, ran.err
    assert f"100 images answered in {out}" in ran.out
    assert sorted(one.name for one in out.iterdir()) == ["_patchbay.json", "part-00000.parquet"]
    table = pq.read_table(out)
    assert table.column_names == COLUMNS
    classes = json.loads(table.schema.metadata[b"patchbay.class_names"])
    printed = shop.run("predict", shop.patched, str(digits), "--json").json["predictions"]
    assert len(printed) == table.num_rows == 100
    for row, answer in zip(table.to_pylist(), printed, strict=True):
        assert str(digits / row["image"]) == answer["image"]
        for name in ("label", "weak_label", "changed_by"):
            assert row[name] == answer[name]
        np.testing.assert_allclose(
            row["scores"], [answer["scores"][name] for name in classes], atol=1e-5
        )
        assert row["score"] == max(row["scores"])
        assert row["weak_score"] == pytest.approx(max(answer["weak_scores"].values()), abs=1e-5)
        assert row["error"] is None
    alone = shop.run("predict", shop.patched, str(digits / "00" / "003.png"), "--json").json
    (answer,) = alone["predictions"]
    np.testing.assert_allclose(
        table["scores"][3].as_py(), [answer["scores"][name] for name in classes], atol=1e-5
    )


def test_unreadable_images_are_counted_and_told_by_the_exit_code(
    shop: Shop, digit_files: Path, tmp_path: Path
) -> None:
    (digit_files / "cut.png").write_bytes((digit_files / "0.png").read_bytes()[:60])
    out = digit_files / "out"  # among the images
    ran = shop.run("predict", shop.patched, str(digit_files), "--out", str(out), "--json")
    assert ran.code == UNREADABLE == 5
    assert ran.json.items() >= {"images": 4, "unreadable": 1, "named_twice": 0}.items()
    rows = {row["image"]: row for row in pq.read_table(out).to_pylist()}
    assert rows["cut.png"]["error"].startswith("cut.png")
    assert rows["cut.png"]["label"] is None
    assert rows["0.png"]["error"] is None
    again = shop.run("predict", shop.patched, str(digit_files), "--out", str(out))
    assert again.code == UNREADABLE  # nothing is left to do, and it says the same
    assert "1 could not be read" in again.out


def test_a_folder_of_something_else_needs_a_restart_or_is_left_alone(
    shop: Shop, digit_files: Path, tmp_path: Path
) -> None:
    out = ("--out", str(tmp_path / "answers"))
    first = shop.run("predict", shop.patched, str(digit_files), *out)
    assert first.code == 0, first.err
    other = shop.run("predict", shop.weak, str(digit_files), *out)
    refused(other, 1, f"model: {shop.patched} then, {shop.weak} now", "--restart")
    (digit_files / "2.png").unlink()
    refused(shop.run("predict", shop.patched, str(digit_files), *out), 1, "images: 3 then, 2 now")
    anew = shop.run("predict", shop.weak, str(digit_files), *out, "--restart", "--json")
    assert anew.code == 0, anew.err
    table = pq.read_table(tmp_path / "answers")
    assert table.column_names == ["image", "label", "score", "scores", "error"]
    assert table.num_rows == 2
    for restart in ((), ("--restart",)):
        own = ("--out", str(digit_files))  # the images' own folder
        refused(shop.run("predict", shop.weak, str(digit_files), *own, *restart), 1, "no folder of")
    assert (digit_files / "0.png").exists()


def test_several_paths_are_taken_once_each(shop: Shop, digits: Path, tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "out"), "--json")
    paths = (str(digits / "00"), str(digits), str(digits / "10" / "010.png"))
    ran = shop.run("predict", shop.patched, *paths, *out)
    assert ran.code == 0, ran.err
    assert ran.json.items() >= {"images": 100, "named_twice": 11}.items()
    images = pq.read_table(tmp_path / "out")["image"].to_pylist()
    assert len(set(images)) == 100
    assert images[0] == str(digits / "00" / "000.png")


def test_two_processes_are_not_at_one_folder(shop: Shop, digit_files: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / "_patchbay.lock"):
        ran = shop.run("predict", shop.patched, str(digit_files), "--out", str(tmp_path / "out"))
    refused(ran, 1, "another process is at this folder")


def test_what_can_not_be_written_or_makes_no_sense_is_refused(
    shop: Shop, digit_files: Path, tmp_path: Path
) -> None:
    images = str(digit_files)
    file = tmp_path / "file"
    file.write_text("no folder")
    refused(shop.run("predict", shop.patched, images, "--out", str(file)), 2, "is a file")
    below = shop.run("predict", shop.patched, images, "--out", str(file / "out"))
    refused(below, 1, "Not a directory")
    empty = tmp_path / "empty"
    empty.mkdir()
    nothing = shop.run("predict", shop.patched, str(empty), "--out", str(tmp_path / "out"))
    refused(nothing, 2, "no image in")
    assert not (tmp_path / "out").exists()
    for option in (("--restart",), ("--workers", "2"), ("--max-pixels", "9")):
        refused(shop.run("predict", shop.patched, images, *option), 2, f"{option[0]} goes with")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(
    shop: Shop, digit_files: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    ran = shop.run("predict", shop.patched, str(digit_files), "--out", str(tmp_path / "out"))
    refused(ran, 1, "Permission denied")


def test_the_documented_lines_read_the_answers(
    shop: Shop, digit_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "scoring-many-images.md").read_text()
    (command,) = re.findall(r"```bash\npatchbay (.*?)\n```", page)
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    given = {"models:/NAME@champion": shop.patched, "FOLDER": str(digit_files)}
    ran = shop.run(*(given.get(word, word) for word in command.split()))
    assert ran.code == 0, ran.err
    found: dict[str, Any] = {}
    exec(code, found)
    assert found["classes"] == ["7", "8", "1"]
    assert list(found["answers"].image) == ["0.png", "1.png", "2.png"]
    columns = re.findall(r"^\| (`.*?) \|", page, flags=re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(columns)) == list(found["answers"].columns) == COLUMNS


AFTER_A_PART: dict[str, Any] = {"owner": "serving.scoring.scoring", "function": "write_whole"}
AMONG_BATCHES: dict[str, Any] = {
    "owner": "serving.scoring.batches",
    "function": "_answered",
    "times": 4096 // ScoringSettings.batch_size + 5,
}


@pytest.mark.slow  # starts the program five times
@pytest.mark.parametrize(
    ("ending", "moment"),
    [
        (signal.SIGKILL, AFTER_A_PART),
        (signal.SIGINT, AFTER_A_PART),
        (signal.SIGTERM, AFTER_A_PART),
        (signal.SIGINT, AMONG_BATCHES),
        (signal.SIGTERM, AMONG_BATCHES),
    ],
)
def test_ended_anyhow_the_same_command_goes_on_to_the_same_files(
    shop: Shop, tmp_path: Path, ending: signal.Signals, moment: dict[str, Any]
) -> None:
    """Three parts of an array, ended after each of the first two or in the next."""
    images = read_digits().images
    np.save(tmp_path / "digits.npy", np.concatenate([images] * 6)[:9000])
    arguments = ("predict", shop.patched, str(tmp_path / "digits.npy"), "--home", str(shop.home))
    whole = run_command(*arguments, "--out", str(tmp_path / "whole"), "--workers", "1")
    assert whole.code == 0, whole.err
    out = tmp_path / "out"
    for parts in (1, 2):
        with held_process(*arguments, "--out", str(out), **moment) as process:
            assert len(list(out.glob("part-*.parquet"))) == parts
            process.send_signal(ending)
            process.send_signal(signal.SIGCONT)
            _, err = process.communicate(timeout=300)
        expected = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
        assert process.returncode == expected[ending], err
        assert ("the same command goes on" in err) == (ending != signal.SIGKILL)
        assert "Traceback" not in err
    last = run_command(*arguments, "--out", str(out))
    assert last.code == 0, last.err
    assert "going on where" in last.err
    names = sorted(one.name for one in (tmp_path / "whole").iterdir())
    assert sorted(one.name for one in out.iterdir()) == names
    for name in names:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
