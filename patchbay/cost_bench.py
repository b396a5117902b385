"""What ``patchbay bench cost`` was asked for, counted and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchbay.bench_figures import keep, require_writable, say_kept
from patchbay.console import emit, say, table
from patchbay.session import open_registry

if TYPE_CHECKING:
    from benchmarks.cost.rows import TakenApart

_SHOWN = ("kernels", "parameters", "multiply_adds", "weights_bytes", "bundle_bytes")
_HEADER = ("kernels", "parameters", "multiply-adds", "bytes of weights", "of the bundle")


@dataclass(frozen=True)
class Asked:
    """What is to be counted.

    Attributes:
        model: a strong model's address; None for the reference networks.
        width: of the reference networks.
        seed: of their masks.
        decompositions: a file of counted ones, if any.
        home: of the registry.
    """

    model: str | None
    width: float
    seed: int
    decompositions: Path | None
    home: Path | None


def run(asked: Asked, out: Path | None, *, as_json: bool) -> None:
    """Count, keep the figures in the file if there is one, and show them."""
    from benchmarks.cost.decompositions import read_decompositions
    from benchmarks.cost.run import cost_figures

    earlier = [] if asked.decompositions is None else read_decompositions(asked.decompositions)
    counted, settings = _counted(asked)
    require_writable(out)
    found = cost_figures(
        [*counted, *earlier], with_published=asked.model is None, settings=settings
    )
    keep(found, out)
    if as_json:
        emit(found)
    else:
        _show(found)
        say_kept(out)


def _counted(asked: Asked) -> tuple[list[TakenApart], dict[str, Any]]:
    """The networks that were asked for, and by which settings."""
    if asked.model is not None:
        registry = open_registry(asked.home, addresses=[asked.model], reads_only=True)
        from benchmarks.cost.registered import registered_model

        return [registered_model(registry, asked.model)], {"model": asked.model}
    from benchmarks.cost.reference import reference_networks
    from benchmarks.cost.settings import CostSettings

    settings = CostSettings(width=asked.width, seed=asked.seed)
    return reference_networks(settings), settings.model_dump(mode="json")


def _show(found: Mapping[str, Any]) -> None:
    for one in found["decompositions"]:
        rows = [row for row in found["rows"] if row["decomposition"] == one["name"]]
        _show_counts(f"{one['name']} (masks: {one['masks']})", rows)
        if missing := one["missing_classes"]:
            say(f"no class module of {', '.join(missing)}, so nothing is composed")
        _show_beside_paper(rows)
    _show_published(found)


def _show_counts(title: str, rows: list[dict[str, Any]]) -> None:
    shown = [
        (name, key)
        for name, key in zip(_HEADER, _SHOWN, strict=True)
        if any(row[key] is not None for row in rows)
    ]
    table(
        title,
        ("", *(cell for name, _ in shown for cell in (name, "share"))),
        [
            (
                row["name"],
                *(
                    cell
                    for _, key in shown
                    for cell in (_number(row[key]), _share(row[f"{key}_share"]))
                ),
            )
            for row in rows
        ],
    )


def _show_beside_paper(rows: list[dict[str, Any]]) -> None:
    beside = [
        (
            f"{row['name']}: {key.replace('_', ' ')}",
            _figure(key, row[key]),
            _figure(key, paper),
            "-" if row["to_paper"][key] is None else f"{row['to_paper'][key]:.4f}",
        )
        for row in rows
        for key, paper in (row["paper"] or {}).items()
        if key.removesuffix("_share") == key or key.removesuffix("_share") not in row["paper"]
    ]
    if beside:
        table("", ("", "here", "the paper", "ratio"), beside)


def _show_published(found: Mapping[str, Any]) -> None:
    if not found["published"]:
        return
    table(
        "The paper's figures, held against our count and against each other",
        ("", "published", "found", ""),
        [
            (
                one["name"].replace("_", " "),
                _figure(one["name"], one["published"]),
                _figure(one["name"], one["found"]),
                "agrees" if one["agrees"] else "differs",
            )
            for one in found["published"]
        ],
    )
    table(
        "What they amount to, as shares of the strong network's",
        ("", "kernels", "multiply-adds", "kept evenly", "early kept", "late kept", "composed"),
        [
            (
                one["name"],
                *(_share(one[f"{key}_share"]) for key in ("kernels", "multiply_adds")),
                _share(one["evenly_kept_multiply_adds_share"]),
                *(_share(one[key]) for key in ("early_kept", "late_kept")),
                _share(one["composed_multiply_adds_share"]),
            )
            for one in found["implied"]
        ],
    )
    say(
        "All masks of the reference networks are random. They keep about the same share of each "
        "layer, which costs about its square (kept evenly); the paper's modules cost more, as "
        "they would if, for example, the layers before those of 512 kernels kept more (early kept) "
        "and those of 512 fewer (late kept). The paper's figures of the strong networks are of "
        "ten classes. Composed is the sum of all modules: they run side by side."
    )


def _figure(name: str, value: float | None) -> str:
    return _share(value) if "share" in name else _number(value)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) or value >= 10_000 else f"{value:,.1f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
