"""What ``patchbay bench memory-growth`` was asked for, measured and shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from patchbay.bench_figures import draw, keep, read_figures, require_writable, say_drawn
from patchbay.console import emit, table

_PARTS = {"rows", "fits", "settings", "took_seconds", "environment"}
_MIB = 2**20
_TITLES = {
    "modules": "class modules of a patched model",
    "listed": "class modules in a registry",
    "classes": "classes",
}


def measure(asked: Mapping[str, Any], out: Path | None) -> dict[str, Any]:
    """Measure every series, and keep the figures.

    Args:
        asked: fields of `benchmarks.growth.settings.GrowthSettings`.
        out: a file for the figures.

    Raises:
        click.ClickException: if a series has one size alone.
    """
    from pydantic import ValidationError

    from benchmarks.growth.settings import GrowthSettings

    try:
        settings = GrowthSettings(**asked)
    except ValidationError as error:
        first = error.errors()[0]
        name = first["loc"][0]
        told = first["msg"].removeprefix("Value error, ")
        raise click.UsageError(f"--{name}: {told}") from error
    from benchmarks.growth.run import measure_growth
    from patchbay.session import quieten

    quieten()
    require_writable(out)
    found = measure_growth(settings, told=lambda line: click.echo(line, err=True))
    keep(found, out)
    return found


def read(figures: Path) -> dict[str, Any]:
    """What was measured before; see `patchbay.bench_figures.read_figures`."""
    return read_figures(figures, "memory-growth", _PARTS)


def show(found: dict[str, Any], pictures: Path | None, *, as_json: bool) -> None:
    """Print the figures as tables or as JSON, and draw them if there is a folder."""
    from benchmarks.growth.pictures import save_pictures

    drawn = draw(found, pictures, save_pictures)
    if as_json:
        emit(found)
        return
    for series in found["settings"]["series"]:
        _show_series(found, series)
    _show_fits(found)
    say_drawn(drawn)


def _show_series(found: dict[str, Any], series: str) -> None:
    """A line a quantity, a column a size."""
    rows = [one for one in found["rows"] if one["series"] == series]
    sizes = sorted({one["size"] for one in rows})
    medians = {(one["name"], one["size"]): one["median"] for one in rows}
    table(
        f"{_TITLES[series]}: medians, {found['took_seconds'][series]:,.0f} s in all",
        ("", *map(str, sizes)),
        [
            (_in_words(name), *(_value(name, medians[name, size]) for size in sizes))
            for name in dict.fromkeys(one["name"] for one in rows)
        ],
    )


def _show_fits(found: dict[str, Any]) -> None:
    table(
        "growth: a power of the size; and a part for each, beside one that does not grow",
        ("", "by", "exponent", "of the largest", "for each", "for none", "R2"),
        [
            (
                _in_words(one["name"]),
                _TITLES[one["series"]],
                f"{one['exponent']:.2f}",
                "-" if one["largest_exponent"] is None else f"{one['largest_exponent']:.2f}",
                *(_value(one["name"], one[key]) for key in _linear(one["name"])),
                f"{one['r_squared']:.3f}",
            )
            for one in found["fits"]
        ],
        left=2,
    )


def _linear(name: str) -> tuple[str, str]:
    unit = name.rpartition("_")[2]
    return f"per_item_{unit}", f"at_none_{unit}"


def _in_words(name: str) -> str:
    """Such as ``weight_bytes`` as ``weight MiB``."""
    words, _, unit = name.rpartition("_")
    return f"{words} {'MiB' if unit == 'bytes' else unit}".replace("_", " ")


def _value(name: str, value: float) -> str:
    return f"{value / _MIB if name.endswith('_bytes') else value:,.4g}"
