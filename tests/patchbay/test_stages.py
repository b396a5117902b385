"""What a person sees of work in progress, on terminals of all widths and in logs."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest
from rich.console import Console

from modularizer.progress import Progress
from patchbay.stages import (
    INTERRUPTED,
    STOPPED_EARLY,
    Follower,
    LogScreen,
    Stage,
    StageBar,
    duration,
    metric_texts,
)

FOUND = {
    "fitness": 0.951234,
    "accuracy": 0.982,
    "diff": 0.5234,
    "kernels_kept": 2617.3,
    "passes": 1234567.0,
}


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def searching(done: int, total: int, *, seconds_a_step: float = 60.0) -> Stage:
    stage = Stage("strong", Progress("search", 1, total, FOUND), 0.0)
    for index in range(1, done + 1):
        stage.tell(Progress("search", index, total, FOUND), index * seconds_a_step)
    return stage


def drawn(stage: Stage, width: int, now: float) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    console.print(StageBar(stage, lambda: now))
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_a_bar_tells_everything_at_every_width(width: int) -> None:
    lines = drawn(searching(37, 200), width, 37 * 60 + 10)
    assert all(len(line) <= width for line in lines)
    shown = "\n".join(lines)
    for fact in (
        "strong: search",
        "37/200",
        "37:10, at most 2:42:50 left",
        "fitness 0.9512",
        "Acc 0.9820",
        "Diff 0.5234",
        "kernels kept 2,617",
    ):
        assert fact in shown


def test_a_narrow_terminal_leaves_out_the_last_metrics_and_keeps_the_stage() -> None:
    stage = Stage("a-model-with-a-name-that-fills-the-line", searching(1, 9).step, 0.0)
    lines = drawn(stage, 50, 1.0)
    assert all(len(line) <= 50 for line in lines)
    assert ": search" in lines[0]
    assert "1/9" in lines[0]
    assert lines[1].split("  ")[1:] == ["fitness 0.9512", "Acc 0.9820", "Diff 0.5234"]


def test_time_left_follows_the_latest_steps() -> None:
    stage = Stage("x", Progress("train", 0, 40), 0.0)
    now = 0.0
    for done in range(1, 31):
        now += 100.0 if done <= 20 else 2.0
        stage.tell(Progress("train", done, 40), now)
    assert stage.seconds_left(now) == pytest.approx(10 * 2.0)
    assert stage.seconds_left(now + 5) == pytest.approx(15.0)
    assert stage.seconds_left(now + 500) == 0
    assert stage.time(now) == "33:40, 0:20 left"  # an epoch count is no upper bound


def test_time_left_counts_steps_that_were_told_of_together() -> None:
    stage = Stage("x", Progress("score", 5000, 10_000), 0.0)
    stage.tell(Progress("score", 5000, 10_000), 0.0)  # from an earlier run
    for batch in range(1, 21):
        stage.tell(Progress("score", 5000 + 64 * batch, 10_000), 2.0 * batch)
    assert stage.seconds_left(40.0) == pytest.approx((5000 - 20 * 64) / 32)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599, "59:59"), (3600, "1:00:00")],
)
def test_durations_read_as_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_metrics_of_any_size_are_short() -> None:
    texts = metric_texts({"learning_rate": 1e-5, "zero": 0.0, "loss": 2.5, "count": 12345.6})
    assert texts == ["learning rate 1.0e-05", "zero 0.0000", "loss 2.5000", "count 12,346"]


def test_a_log_hears_of_a_long_search_every_half_minute_and_at_its_early_end() -> None:
    clock, lines = Clock(), list[str]()
    follower = Follower(LogScreen(lines.append, clock), clock)
    follower.expect("strong")
    for done in range(1, 11):
        clock.now += 12
        follower.tell("strong", Progress("search", done, 100, FOUND))
    assert [line.split("  ")[0] for line in lines] == [
        "strong: search 3/100",
        "strong: search 6/100",
        "strong: search 9/100",
    ]
    assert "0:36, at most 19:24 left  fitness 0.9512  Acc 0.9820  Diff 0.5234" in lines[0]
    follower.end(STOPPED_EARLY)
    follower.end(STOPPED_EARLY)
    assert len(lines) == 4
    assert lines[3].startswith("strong: search 10/100  2:00, stopped early  fitness 0.9512")


def test_a_log_hears_of_a_slow_step_as_soon_as_it_is_done() -> None:
    clock, lines = Clock(), list[str]()
    follower = Follower(LogScreen(lines.append, clock), clock)
    for done in (1, 2):
        clock.now += 83
        follower.tell("strong", Progress("search", done, 2))
    assert [line.split(",")[0] for line in lines] == [
        "strong: search 1/2  1:23",
        "strong: search 2/2  2:46",
    ]


def test_the_next_stage_or_label_ends_the_one_before() -> None:
    clock, lines = Clock(), list[str]()
    follower = Follower(LogScreen(lines.append, clock), clock)
    follower.tell("strong", Progress("search", 1, 9))
    follower.tell("strong", Progress("heads", 1, 5))
    follower.expect("weak")
    follower.tell("weak", Progress("train", 1, 5))
    follower.end(INTERRUPTED)
    assert lines == [
        "strong: search 1/9  0:00, stopped early",
        "strong: heads 1/5  0:00, stopped early",
        "weak: train 1/5  0:00, interrupted",
    ]


SEARCH = """
import sys
import patchbay.console
from modularizer.progress import Progress
from patchbay.console import progress_bars
patchbay.console.monotonic = lambda: 0.0  # the times that are shown don't depend on the machine
with progress_bars() as bars:
    tell = bars("strong")
    for done in range(3):
        tell(Progress("sensitivity", done + 1, 3))
    for done in range(4):
        tell(Progress("search", done + 1, 10, {"fitness": 0.9 + done / 100}))
    bars("[/b]")(Progress("train", 1, 5))
    if sys.argv[1:]:
        raise KeyboardInterrupt
"""


def test_a_terminal_keeps_a_line_a_stage_and_its_cursor() -> None:
    main, secondary = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "LINES": "20", "TERM": "xterm-256color"}
    with subprocess.Popen(
        [sys.executable, "-c", SEARCH], stderr=secondary, env=environment
    ) as process:
        os.close(secondary)
        raw = b""
        while True:
            try:
                chunk = os.read(main, 65536)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            raw += chunk
    os.close(main)
    assert process.returncode == 0
    shown = raw.decode()
    assert "3/3" in shown
    assert "4/10  0:00, stopped early" in shown
    assert "[/b]: train" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back


def test_a_log_has_no_escape_codes_and_names_an_interruption() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SEARCH, "x"],
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "TTY_COMPATIBLE")},
    )
    assert "\x1b" not in ran.stderr
    lines = [line for line in ran.stderr.splitlines() if ": " in line]
    assert lines[:3] == [
        "strong: sensitivity 3/3  0:00",
        "strong: search 4/10  0:00, stopped early  fitness 0.9300",
        "[/b]: train 1/5  0:00, interrupted",
    ]
