"""What ``patchbay bench paper`` was asked for, done and shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from tomllib import TOMLDecodeError
from typing import TYPE_CHECKING

import click

from patchbay.console import emit, table
from patchbay.session import cores
from patchbay.stages import SECONDS_BETWEEN_LINES, duration, metric_texts

if TYPE_CHECKING:
    from benchmarks.paper.run import Errand, Told
    from benchmarks.paper.track import Track

OUT_OF_TIME = 3
"""Exit code where a time limit ended the work; the same command goes on."""


@dataclass(frozen=True)
class Asked:
    """What a run of a track was asked to do."""

    track_name: str
    images: Path | None
    out: Path
    only: tuple[str, ...]
    seconds: float | None
    device: str
    workers: int | None
    threads: int
    as_json: bool


def run(asked: Asked, *, listing: bool) -> None:
    """Do the steps that were asked for, as far as they are not done."""
    from benchmarks.paper.run import run_steps
    from modularizer.devices import require_device

    require_device(asked.device)
    errands = _errands(asked, _track(asked.track_name))
    if listing:
        _show_steps(errands, as_json=asked.as_json)
        return
    workers = asked.workers or (1 if asked.device == "cuda" else cores())
    finished = run_steps(
        errands,
        workers=workers,
        threads=asked.threads,
        seconds=asked.seconds,
        told=_Lines().tell,
    )
    if not finished:
        click.echo("The time is over; the same command goes on from here.", err=True)
        raise SystemExit(OUT_OF_TIME)


def _track(name: str) -> Track:
    from benchmarks.paper.track import load_track

    try:
        return load_track(name)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise click.BadParameter(
            f"no track {name!r}; there are small and full, or give a TOML file"
        ) from error
    except (TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{name} is no TOML: {error}") from error


def _errands(asked: Asked, track: Track) -> list[Errand]:
    from benchmarks.paper.images import TrackImages
    from benchmarks.paper.run import Errand
    from benchmarks.paper.steps import chosen, suite_steps

    errands = []
    every = []
    for suite in track.suites:
        steps = suite_steps(suite, TrackImages(suite.dataset, track.seed, asked.images))
        every += [(suite, step) for step in steps.before_selection]
    try:
        wanted = {step.name for step in chosen([step for _, step in every], asked.only)}
    except LookupError as error:
        raise click.UsageError(str(error)) from error
    for suite, step in every:
        if step.name in wanted:
            errands.append(Errand(suite, track.seed, asked.images, step, asked.out, asked.device))
    return errands


def _show_steps(errands: list[Errand], *, as_json: bool) -> None:
    from benchmarks.paper.workspace import Workspace

    total = sum(one.step.effort for one in errands) or 1.0
    rows = []
    for one in errands:
        workspace = Workspace(one.folder)
        done = workspace.is_done(one.step)
        seconds = workspace.seconds(one.step) if done else None
        rows.append((one.step.name, one.step.effort / total, done, seconds))
    if as_json:
        names = ("step", "share_of_work", "done", "seconds")
        emit([dict(zip(names, row, strict=True)) for row in rows])
        return
    table(
        f"{len(rows)} steps, {sum(done for _, _, done, _ in rows)} done",
        ("step", "share of the work", "took"),
        [
            (name, f"{share:.1%}", duration(seconds) if seconds is not None else "-")
            for name, share, _, seconds in rows
        ],
    )


class _Lines:
    """A line for each finished step, and in a while one for what is under way."""

    def __init__(self) -> None:
        self._written: dict[str, float] = {}

    def tell(self, told: Told) -> None:
        left = "" if told.seconds_left is None else f"  {duration(told.seconds_left)} left in all"
        count = f"{told.done}/{told.total}"
        if told.progress is None:
            click.echo(f"{count}  {told.step}  {duration(told.seconds)}{left}", err=True)
            return
        now = monotonic()
        if now - self._written.setdefault(told.step, now) < SECONDS_BETWEEN_LINES:
            return
        self._written[told.step] = now
        step = told.progress
        metrics = "  ".join(metric_texts(step.metrics))
        click.echo(
            f"{count}  {told.step}: {step.stage} {step.done}/{step.total}  {metrics}{left}",
            err=True,
        )
