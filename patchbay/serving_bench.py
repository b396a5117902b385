"""What ``patchbay bench serving`` was asked for, measured and shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from patchbay import serving_bench_view
from patchbay.bench_figures import (
    draw,
    keep,
    read_figures,
    require_writable,
    say_drawn,
    say_kept,
)
from patchbay.console import emit
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
    """What was measured before; see `patchbay.bench_figures.read_figures`."""
    return read_figures(figures, "serving", _PARTS)


def show(found: dict[str, Any], pictures: Path | None, out: Path | None, *, as_json: bool) -> None:
    """Print the figures as tables or as JSON, and draw them if there is a folder."""
    from benchmarks.serving.plots import save_plots

    drawn = draw(found, pictures, save_plots)
    if as_json:
        emit(found)
        return
    serving_bench_view.show(found)
    say_kept(out)
    say_drawn(drawn)
