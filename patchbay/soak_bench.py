"""What ``patchbay bench soak`` was asked for, done and shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from patchbay.bench_figures import keep, require_writable, say_kept
from patchbay.console import emit, say, table
from patchbay.session import open_registry

MISSED = 6
"""The exit code where an aim is missed."""

_SHORTEST_MOVE_SECONDS = 5.0
"""A move has to be followed until the next one, and the service looks every two seconds."""


@dataclass(frozen=True)
class Asked:
    """What a soak was asked to do."""

    seconds: float
    load_share: float
    toy: bool
    seed: int
    out: Path | None
    as_json: bool


def run(asked: Asked) -> bool:
    """Serve versions in a temporary home under load; gives whether no aim was missed."""
    from benchmarks.serving.subject import QUARTER, TOY
    from benchmarks.soak.run import all_met, soak
    from benchmarks.soak.settings import SoakSettings
    from benchmarks.soak.versions import register_versions

    settings = SoakSettings(
        seconds=asked.seconds,
        load_share=asked.load_share,
        move_seconds=min(20.0, max(asked.seconds / 3, _SHORTEST_MOVE_SECONDS)),
        capacity_seconds=min(10.0, asked.seconds),
        warm_up_seconds=min(60.0, asked.seconds / 3),
        seed=asked.seed,
    )
    require_writable(asked.out)
    with TemporaryDirectory(prefix="patchbay-soak-") as folder:
        home = Path(folder, "home")
        registry = open_registry(home)
        versions = register_versions(registry, TOY if asked.toy else QUARTER, seed=asked.seed)
        found = soak(registry, home, versions, settings, told=_tell)
    keep(found, asked.out)
    if asked.as_json:
        emit(found)
    else:
        _show(found)
        say_kept(asked.out)
    return all_met(found["verdicts"])


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _show(found: dict[str, Any]) -> None:
    best, load = found["rows"]
    table(
        f"{load['offered_per_second']:,.0f} requests/s offered, of "
        f"{best['requests_per_second']:,.0f} at best",
        ("from s", "answers", "p50 ms", "p99 ms", "longest ms"),
        [
            (
                f"{one['from_seconds']:g}",
                f"{one['answers']:,}",
                *(_number(one[name]) for name in ("p50_ms", "p99_ms", "longest_ms")),
            )
            for one in found["stretches"]
        ],
        left=0,
    )
    moves, changes = found["changes"]["moves"], found["changes"]
    say(
        f"{len(moves)} moves of the alias, {changes['loaded']} class modules loaded and "
        f"{changes['unloaded']} unloaded; {found['memory']['last_mib']:,.0f} MiB held"
    )
    table(
        "",
        ("", "found", "aim", ""),
        [
            (one["name"], _number(one["found"]), one["aim"], one["verdict"])
            for one in found["verdicts"]
        ],
    )
    for kind, count in load["failures_by_kind"].items():
        say(f"{count:,} {kind}: {load.get('examples', {}).get(kind, 'no answer')}")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
