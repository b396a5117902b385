"""What ``patchbay bench serving`` was asked for, measured and shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from patchbay import serving_bench_view
from patchbay.bench_figures import keep, require_writable, say_kept
from patchbay.console import emit, say
from patchbay.session import open_registry

_PARTS = {"rows", "comparisons", "overload", "peers", "generator", "subject", "cores"}


def measure(asked: Mapping[str, Any], out: Path | None, *, toy: bool) -> dict[str, Any]:
    """Serve a model in a temporary home, measure, and keep the figures.

    Args:
        asked: fields of `benchmarks.serving.settings.ServingBenchSettings`.
        out: a file for the figures.
        toy: whether the networks are tiny.
    """
    from benchmarks.serving.run import measure_serving
    from benchmarks.serving.settings import ServingBenchSettings
    from benchmarks.serving.subject import QUARTER, TOY, register_subject

    settings = ServingBenchSettings(**asked, open_seconds=3 * asked["window_seconds"])
    require_writable(out)
    with TemporaryDirectory(prefix="patchbay-bench-") as folder:
        home, scratch = Path(folder, "home"), Path(folder, "scratch")
        registry = open_registry(home)
        subject = register_subject(registry, TOY if toy else QUARTER, seed=settings.seed)
        found = measure_serving(
            *(registry, home, subject, settings),
            scratch=scratch,
            told=lambda line: click.echo(line, err=True),
        )
    keep(found, out)
    return found


def read(figures: Path) -> dict[str, Any]:
    """What was measured before.

    Raises:
        click.ClickException: if the file holds something else.
    """
    try:
        found = json.loads(figures.read_text())
        if found.keys() >= _PARTS:
            return dict(found)
    except (ValueError, AttributeError):
        pass
    raise click.ClickException(f"expected figures of patchbay bench serving in {figures}")


def show(found: dict[str, Any], pictures: Path | None, out: Path | None, *, as_json: bool) -> None:
    """Print the figures as tables or as JSON, and draw them if there is a folder."""
    drawn: list[Path] = []
    if pictures is not None:
        from benchmarks.serving.plots import save_plots

        pictures.mkdir(parents=True, exist_ok=True)
        drawn = save_plots(found, pictures)
    if as_json:
        emit(found)
        return
    serving_bench_view.show(found)
    say_kept(out)
    for path in drawn:
        say(f"drawn: {path}")
