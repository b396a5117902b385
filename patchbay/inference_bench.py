"""What ``patchbay bench inference`` was asked for, measured and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from patchbay.bench_figures import draw, keep, read_figures, require_writable, say_drawn
from patchbay.console import emit, say, table
from patchbay.session import open_registry

if TYPE_CHECKING:
    from benchmarks.inference.settings import RandomNetworks, SavedNetworks

_PARTS = {"rows", "claims", "verdicts", "environment"}
_MIB = 2**20


@dataclass(frozen=True)
class Asked:
    """What is to be measured.

    Attributes:
        uri: a patched model's address; None for networks with random weights.
        home: of the registry.
        architectures: of the networks with random weights.
        widths: theirs, as a share of the paper's.
        more: fields of `benchmarks.inference.settings.InferenceSettings`.
    """

    uri: str | None
    home: Path | None
    architectures: Sequence[str]
    widths: Sequence[float]
    more: Mapping[str, Any]


def measure(asked: Asked, out: Path | None) -> dict[str, Any]:
    """Measure one model after the other, and keep the figures in the file if there is one."""
    from benchmarks.inference.run import measure_inference
    from benchmarks.inference.settings import InferenceSettings
    from modularizer.devices import require_device

    require_device(asked.more["device"], asked.more["precision"])
    with TemporaryDirectory(prefix="patchbay-bench-") as folder:
        settings = [
            InferenceSettings(networks=one, **asked.more) for one in _networks(asked, Path(folder))
        ]
        require_writable(out)
        found = measure_inference(settings, told=lambda line: click.echo(line, err=True))
    keep(found, out)
    return found


def _networks(asked: Asked, folder: Path) -> Sequence[RandomNetworks | SavedNetworks]:
    from benchmarks.inference.settings import random_networks

    if asked.uri is None:
        return random_networks(asked.architectures, asked.widths, seed=asked.more["seed"])
    from benchmarks.inference.registered import registered_networks

    registry = open_registry(asked.home)
    most = max(asked.more.get("modules", (8,)))
    return [registered_networks(registry, asked.uri, folder, most=most)]


def read(figures: Path) -> dict[str, Any]:
    """What was measured before; see `patchbay.bench_figures.read_figures`."""
    return read_figures(figures, "inference", _PARTS)


def show(found: dict[str, Any], pictures: Path | None, *, as_json: bool) -> None:
    """Print the figures as tables or as JSON, and draw them if there is a folder."""
    from benchmarks.inference.pictures import save_pictures

    if pictures is not None and not any(one["name"] == "patched" for one in found["rows"]):
        raise click.UsageError("figures of --forms have no pictures")
    drawn = draw(found, pictures, save_pictures)
    if as_json:
        emit(found)
        return
    for model in dict.fromkeys(one["model"] for one in found["rows"]):
        rows = [one for one in found["rows"] if one["model"] == model]
        table(
            f"{model} on {found['environment']['device']}",
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
    if found["verdicts"]:
        table(
            "",
            ("", "batch", "ratio", "95 %", "aim", ""),
            [
                (
                    f"{one['model']}: {one['name']}",
                    str(one["batch"]),
                    f"{one['median']:.3f}",
                    f"{one['low']:.3f} to {one['high']:.3f}" if "low" in one else "",
                    f"at most {one['aim']:.2f}",
                    one["verdict"],
                )
                for one in found["verdicts"]
            ],
        )
    for one in found["claims"]:
        say(f"{one['model']}: {_claim(one)}")
    say_drawn(drawn)


def _claim(one: Mapping[str, Any]) -> str:
    """A claim of the paper beside what was measured, as a sentence."""
    if one["name"] == "memory":
        found = ", ".join(
            f"{one[name]:.2f} times of {what}"
            for name, what in (("process_ratio", "the process"), ("weights_ratio", "the weights"))
            if one[name] is not None
        )
        return f"{found or 'not measured'}; the paper's memory is {one['paper_ratio']:.2f} times"
    holds_at = ", ".join(map(str, one["holds_at"])) or "no number of"
    fastest = ", ".join(f"{of['ratio_to_weak']:.2f} at {of['batch']}" for of in one["fastest"])
    return (
        f'"no extra time" (at most {one["limit"]} times) holds at {holds_at} images; the fastest '
        f"way to run both takes {fastest}"
    )


def _mib(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes / _MIB:,.0f}"
