"""What ``patchbay bench paper`` was asked for, done and shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from tomllib import TOMLDecodeError
from typing import TYPE_CHECKING, Any

import click

from patchbay.console import emit, say, table
from patchbay.session import alone, cores
from patchbay.stages import SECONDS_BETWEEN_LINES, duration, metric_texts

if TYPE_CHECKING:
    from benchmarks.paper.experiment import Experiment, Means
    from benchmarks.paper.run import Told

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
    import torch

    from benchmarks.paper.experiment import Means
    from benchmarks.paper.results import write_results
    from modularizer.devices import require_device

    require_device(asked.device)
    torch.set_num_threads(asked.threads)  # here rules are fitted
    experiment = _experiment(
        asked,
        Means(
            images=asked.images,
            device=asked.device,
            workers=asked.workers or (1 if asked.device == "cuda" else cores()),
            threads=asked.threads,
            seconds=asked.seconds,
        ),
    )
    if listing:
        _show_steps(experiment, as_json=asked.as_json)
        return
    with alone(asked.out / "running.lock", "folder"):
        if not experiment.run(_Lines().tell):
            click.echo("The time is over; the same command goes on from here.", err=True)
            raise SystemExit(OUT_OF_TIME)
        found = write_results(experiment, experiment.results)
    if asked.as_json:
        emit(found.summary)
        return
    _show(found.summary)
    say(f"Tables, figures and pictures: {experiment.results}")


def repeat(scores: Path, out: Path, *, refit: bool, threads: int, as_json: bool) -> None:
    """Make tables again from published scores."""
    import torch

    from benchmarks.paper.results import repeat as repeat_results

    torch.set_num_threads(threads)
    found = repeat_results(scores, out, refit=refit)
    if as_json:
        emit(found.summary)
        return
    _show(found.summary)
    say(f"Tables, figures and pictures: {out}")


def _experiment(asked: Asked, means: Means) -> Experiment:
    from benchmarks.paper.experiment import Experiment
    from benchmarks.paper.track import TRACKS, load_track

    name = asked.track_name
    try:
        return Experiment(load_track(name), asked.out, means, only=asked.only)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise click.BadParameter(
            f"no track {name!r}; there are {', '.join(TRACKS)}, or give a TOML file"
        ) from error
    except (TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise click.BadParameter(f"{name} is no TOML: {error}") from error
    except LookupError as error:
        raise click.BadParameter(str(error.args[0])) from error


def _show_steps(experiment: Experiment, *, as_json: bool) -> None:
    steps, workspace = experiment.steps(), experiment.workspace
    total = sum(step.effort for step in steps) or 1.0
    rows = [
        (
            step.name,
            step.effort / total,
            workspace.is_done(step),
            workspace.seconds(step) if workspace.is_done(step) else None,
        )
        for step in steps
    ]
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


def _show(summary: dict[str, Any]) -> None:
    rows = []
    for name in ("paper", "best_replacement", "best"):
        found = summary[name]
        gains = (f"{100 * found[f'{gain}_gain']:+.2f}" for gain in _GAINS)
        rows.append(
            (name.replace("_", " "), str(found["title"]), f"{found['weak_f1']:.3f}", *gains)
        )
    table(
        f"Gains in points on held-out images, {summary['paper']['models']} weak models",
        ("", "rule", "weak F1", "precision", "recall", "F1", "others"),
        rows,
        left=2,
    )
    for name, harms in summary["harms"].items():
        if harms and name != "paper":
            say(
                f"No candidate for {name.replace('_', ' ')} does all that is asked for on "
                f"validation images; this one falls short in {', '.join(harms)}"
            )
    say(
        f"Composed of modules with {summary['kernels_kept']:.1%} of the kernels: "
        f"{summary['composed_loss']:+.4f} of accuracy lost (output calibration for both), "
        f"Diff {summary['diff']:.3f}"
    )


_GAINS = ("precision", "recall", "f1", "others")


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
