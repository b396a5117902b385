"""What ``patchbay bench inference`` was asked for, measured and shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from patchbay.bench_figures import keep, require_writable
from patchbay.console import emit, say, table

_MIB = 2**20


def measure(
    architectures: Sequence[str], asked: Mapping[str, Any], out: Path | None
) -> dict[str, Any]:
    """Measure each architecture, and keep the figures.

    Args:
        architectures: of the networks.
        asked: fields of `benchmarks.inference.settings.InferenceSettings`.
        out: a file for the figures.
    """
    from benchmarks.inference.run import measure_inference
    from benchmarks.inference.settings import InferenceSettings
    from modularizer.devices import require_device

    require_device(asked["device"], asked["precision"])
    require_writable(out)
    found = measure_inference(
        [InferenceSettings(architecture=one, **asked) for one in dict.fromkeys(architectures)],
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
        if {"rows", "verdicts", "environment"} <= found.keys():
            return dict(found)
    except (ValueError, AttributeError):
        pass
    raise click.ClickException(f"expected figures of patchbay bench inference in {figures}")


def show(found: dict[str, Any], pictures: Path | None, *, as_json: bool) -> None:
    """Print the figures as tables or as JSON, and draw them if there is a folder."""
    if pictures is not None:
        from benchmarks.inference.pictures import save_pictures

        pictures.mkdir(parents=True, exist_ok=True)
        drawn = save_pictures(found, pictures)
    if as_json:
        emit(found)
        return
    for architecture in dict.fromkeys(one["architecture"] for one in found["rows"]):
        rows = [one for one in found["rows"] if one["architecture"] == architecture]
        table(
            f"{architecture} on {found['environment']['device']}",
            ("row", "by", "batch", "p50 ms", "p99 ms", "images/s", "to weak", "MiB"),
            [
                (
                    one["name"],
                    one["executor"],
                    str(one["batch"]),
                    f"{one['p50_ms']:.3f}",
                    f"{one['p99_ms']:.3f}",
                    f"{one['images_per_second']:,.0f}",
                    f"{one['ratio_to_weak']:.2f}",
                    _mib(one.get("process_bytes")),
                )
                for one in rows
            ],
            left=2,
        )
    table(
        "",
        ("", "batch", "ratio", "95 %", "aim", ""),
        [
            (
                f"{one['architecture']}: {one['name']}",
                str(one["batch"]),
                f"{one['median']:.3f}",
                f"{one['low']:.3f} to {one['high']:.3f}" if "low" in one else "",
                f"at most {one['aim']:.2f}",
                one["verdict"],
            )
            for one in found["verdicts"]
        ],
    )
    if pictures is not None:
        say(f"drawn: {', '.join(str(path) for path in drawn)}")


def _mib(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes / _MIB:,.0f}"
