"""What ``patchbay bench serving`` was asked for, measured and shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from patchbay import serving_bench_view
from patchbay.bench_figures import keep, require_writable, say_kept
from patchbay.console import emit
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
    require_writable(asked.out)
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
    keep(found, asked.out)
    if asked.as_json:
        emit(found)
        return
    serving_bench_view.show(found)
    say_kept(asked.out)
