"""What ``patchbay bench serving`` was asked for, measured and shown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from patchbay import serving_bench_view
from patchbay.console import emit, say
from patchbay.session import open_registry


@dataclass(frozen=True)
class Asked:
    """What a measurement was asked to do."""

    rounds: int
    window_seconds: float
    clients: tuple[int, ...]
    with_mlflow: bool
    toy: bool
    seed: int
    out: Path | None
    as_json: bool


def run(asked: Asked) -> None:
    """Serve a model in a temporary home, measure, and show what came of it."""
    from benchmarks.serving.run import measure_serving
    from benchmarks.serving.settings import ServingBenchSettings
    from benchmarks.serving.subject import QUARTER, TOY, register_subject

    settings = ServingBenchSettings(
        rounds=asked.rounds,
        window_seconds=asked.window_seconds,
        open_seconds=3 * asked.window_seconds,
        clients=asked.clients,
        seed=asked.seed,
    )
    if asked.out is not None:  # before minutes of work, not after them
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.touch()
    with TemporaryDirectory(prefix="patchbay-bench-") as folder:
        home, scratch = Path(folder, "home"), Path(folder, "scratch")
        registry = open_registry(home)
        subject = register_subject(registry, TOY if asked.toy else QUARTER, seed=asked.seed)
        found = measure_serving(
            *(registry, home, subject, settings),
            with_mlflow=asked.with_mlflow,
            scratch=scratch,
            told=lambda line: click.echo(line, err=True),
        )
    if asked.out is not None:
        asked.out.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
    if asked.as_json:
        emit(found)
        return
    serving_bench_view.show(found)
    if asked.out is not None:
        say(f"kept in {asked.out}")
