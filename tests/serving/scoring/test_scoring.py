from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from modularizer.progress import Progress
from serving.errors import ScoringError
from serving.scoring.folder import STATE_FILE, part_name
from serving.scoring.inputs import list_inputs
from tests.holding import held_process
from tests.serving.samples import random_images
from tests.serving.scoring.made import SMALL, SOURCE, make_broken, make_files, score

ROOT = Path(__file__).parents[3]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class StoppedError(Exception):
    """Ends a run where a test wants it to end."""


def stopped_after(images: int, out: Path, inputs: Path) -> None:
    def watch(step: Progress) -> None:
        if step.done >= images:
            raise StoppedError

    with pytest.raises(StoppedError):
        score(out, inputs, progress=watch)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """50 images of two sizes, and five that are broken."""
    folder = make_files(tmp_path / "images", 40)
    make_files(folder / "more", 10, side=12)
    make_broken(folder)
    return folder


def test_every_image_has_a_row_in_order_whatever_became_of_it(images: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    counts = score(tmp_path / "out", images, progress=told.append)
    table = pq.read_table(tmp_path / "out")
    inputs = list_inputs([images], as_dataset=True)
    assert table["image"].to_pylist() == inputs.names(0, 55)
    assert (counts.images, counts.unreadable) == (55, 5)
    assert table["error"].null_count == 50
    labels, weak_labels = table["label"].to_pylist(), table["weak_label"].to_pylist()
    moved = [one != other for one, other in zip(labels, weak_labels, strict=True)]
    assert counts.changed == sum(moved) > 0
    assert [step.done for step in told] == [0, 8, 16, 20, 28, 36, 40, 48, 55]
    assert told[-1].metrics["unreadable"] == 5
    state = json.loads((tmp_path / "out" / STATE_FILE).read_text())
    assert state["complete"]
    assert state["unreadable"] == 5


def test_neither_workers_nor_interruptions_change_a_byte(images: Path, tmp_path: Path) -> None:
    score(tmp_path / "whole", images, workers=1)
    whole = files(tmp_path / "whole")
    assert sorted(whole) == [STATE_FILE, *(part_name(number) for number in range(3))]
    for images_done in (1, 20, 36, 55):
        stopped_after(images_done, tmp_path / "out", images)
        score(tmp_path / "out", images, workers=3)
        assert files(tmp_path / "out") == whole
        score(tmp_path / "out", images, restart=True)


def test_what_is_there_is_not_scored_again(images: Path, tmp_path: Path) -> None:
    whole = score(tmp_path / "out", images)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*.parquet")}
    (tmp_path / "out" / part_name(1)).unlink()
    told: list[Progress] = []
    assert score(tmp_path / "out", images, progress=told.append) == whole
    assert [step.done for step in told] == [35, 43, 51, 55]
    same = [path.name for path, then in before.items() if path.stat().st_mtime_ns == then]
    assert sorted(same) == [part_name(0), part_name(2)]


def test_an_array_goes_on_in_the_middle(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=random_images(70, 8, 8))
    score(tmp_path / "whole", tmp_path / "a.npz")
    stopped_after(50, tmp_path / "out", tmp_path / "a.npz")
    score(tmp_path / "out", tmp_path / "a.npz")
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_another_model_other_images_and_other_settings_are_refused(
    images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    score(out, images)
    before = files(out)
    with pytest.raises(ScoringError, match="model: models:/served/1 then, models:/served/2 now"):
        score(out, images, source=replace(SOURCE, uri="models:/served/2"))
    with pytest.raises(ScoringError, match="max pixels: 10000 then, 99 now"):
        score(out, images, settings=replace(SMALL, max_pixels=99))
    (images / "00000.png").touch()
    with pytest.raises(ScoringError, match=r"images fingerprint: .*--restart"):
        score(out, images)
    assert files(out) == before
    score(out, images, restart=True)
    assert files(out).keys() == before.keys()
    assert files(out)[STATE_FILE] != before[STATE_FILE]


@pytest.mark.parametrize("raw", [b"PAR1", b"other"])
def test_a_part_that_is_not_whole_is_refused_by_name(
    images: Path, tmp_path: Path, raw: bytes
) -> None:
    score(tmp_path / "out", images)
    whole = files(tmp_path / "out")
    (tmp_path / "out" / part_name(1)).write_bytes(raw)
    with pytest.raises(ScoringError, match=r"part-00001\.parquet can't be read .* remove it"):
        score(tmp_path / "out", images)
    (tmp_path / "out" / part_name(1)).write_bytes(whole[part_name(0)])
    with pytest.raises(ScoringError, match=r"part-00001\.parquet is not the part that belongs"):
        score(tmp_path / "out", images)
    (tmp_path / "out" / part_name(1)).unlink()
    score(tmp_path / "out", images)
    assert files(tmp_path / "out") == whole


def test_the_folder_of_answers_may_lie_among_the_images(images: Path) -> None:
    first = score(images / "out", images)
    assert score(images / "out", images) == first  # its files are no images


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    images = make_files(tmp_path / "images", 600)
    score(tmp_path / "whole", images)
    program = (
        "from pathlib import Path; from tests.serving.scoring.made import score\n"
        "score(*map(Path, sys.argv[1:]))"
    )
    out = tmp_path / "out"
    with held_process(
        str(out),
        str(images),
        owner="serving.scoring.scoring",
        function="write_whole",
        times=5,
        program=program,
    ) as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert len(list(out.glob("part-*.parquet"))) == 5
    score(tmp_path / "out", images)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.slow  # writes and scores 22,000 files
def test_ten_times_the_images_take_no_more_memory(tmp_path: Path) -> None:
    """Peaks of processes of their own; 18,000 names and stamps take some 5 MB of the rest."""
    code = (
        "import sys; from pathlib import Path; from tests.serving.scoring.made import score\n"
        "from serving.scoring.scoring import ScoringSettings\n"
        "score(Path(sys.argv[1]), Path(sys.argv[2]), settings=ScoringSettings(part_images=1000))\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    peaks = []
    for count in (2_000, 20_000):
        images = make_files(tmp_path / f"images-{count}", count, side=32)
        ran = subprocess.run(
            [sys.executable, "-c", code, tmp_path / f"out-{count}", images],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks.append(int(ran.stdout.split()[1]) / 1024)
    pixels = 18_000 * 32 * 32 * 3 / 2**20
    assert pixels > 50
    assert peaks[1] - peaks[0] < 30, peaks
