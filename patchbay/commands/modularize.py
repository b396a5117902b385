"""``patchbay modularize``: take a registered model apart and register its class modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modularizer.settings import DecompositionSettings
from patchbay import options
from patchbay.console import emit, progress_bars, say, table
from patchbay.session import (
    cores,
    files_folder,
    kept_search,
    load_splits,
    open_registry,
)

if TYPE_CHECKING:
    from modularizer.pipeline import RegisteredDecomposition


@click.command(short_help="Decompose a registered model into class modules.")
@click.argument("model")
@options.splits
@options.settings_of(DecompositionSettings)
@options.device
@options.workers
@options.memory_limit
@click.option("--restart", is_flag=True, help="Begin anew, not where an interrupted run ended.")
@options.common
def modularize(
    model: str,
    source: str,
    size: int | None,
    data_seed: int,
    device: str,
    workers: int | None,
    memory_limit: int | None,
    restart: bool,
    threads: int,
    home: Path | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Decompose a registered MODEL into class modules and register them.

    Defaults are the paper's settings for full-size work. Every generation is kept: after an
    interruption the same command goes on where it ended, on a CPU with the same result to the
    bit. Neither the number of workers nor the memory changes it.
    """
    settings = DecompositionSettings(**values)
    registry = open_registry(home, threads=threads, addresses=[model], reads_only=True)
    from modularizer.decomposition import Resources, identity_of
    from modularizer.devices import require_device
    from modularizer.pipeline import run_decomposition
    from registry.naming import class_module_name

    version = registry.find(model)
    strong = registry.load_classifier(version.uri).to(require_device(device, settings.precision))
    data = load_splits(source, seed=data_seed, size=size, classes=strong.class_names)
    for class_name in strong.class_names:
        registry.require_name_for(class_module_name(version.name, class_name), "class_module")
    digest = identity_of(strong, data, settings).digest
    checkpoint = files_folder(home) / "searches" / f"{version.name}-{digest[:16]}.safetensors"
    with (
        kept_search(checkpoint, restart=restart, quiet=as_json),
        progress_bars(quiet=as_json) as bar,
    ):
        found = run_decomposition(
            strong,
            data,
            name=version.name,
            strong_uri=version.uri,
            settings=settings,
            sink=registry,
            resources=Resources(
                workers=workers or cores(), memory_limit=memory_limit, checkpoint=checkpoint
            ),
            progress=bar(version.name),
        )
    if as_json:
        emit(_as_json(found, version.uri, device))
    else:
        _tell(found, version.uri, device)


def _as_json(found: RegisteredDecomposition, strong: str, device: str) -> dict[str, Any]:
    return {
        "strong": strong,
        **found.record.metrics,
        "reruns": found.parts.reruns,
        "memory_bytes": {**asdict(found.parts.memory), "peak": _peak(device)},
        "modules": [
            {
                "uri": one.uri,
                "class_name": part.class_module.class_name,
                "kernels": part.cost.kernels,
                "multiply_adds": part.cost.multiply_adds,
                "calibrations": [kind.model_dump() for kind in one.calibrations.values()],
            }
            for one, part in zip(found.modules, found.record.classes, strict=True)
        ],
    }


def _tell(found: RegisteredDecomposition, strong: str, device: str) -> None:
    table(
        f"Class modules of {strong}",
        ("class", "address", "kernels", "multiply-adds"),
        [
            (
                part.class_module.class_name,
                one.uri,
                f"{part.cost.kernels:,}",
                f"{part.cost.multiply_adds:,}",
            )
            for one, part in zip(found.modules, found.record.classes, strict=True)
        ],
        left=2,
    )
    metrics, memory = found.record.metrics, found.parts.memory
    say(
        f"validation accuracy: strong {metrics['strong_accuracy']:.3f}, composed "
        f"{metrics['composed_accuracy']:.3f}, random masks of the same size "
        f"{metrics['random_accuracy']:.3f}; Diff {metrics['diff']:.3f}"
    )
    say(_passes_line(metrics))
    if found.parts.reruns:
        say(
            f"{found.parts.reruns:,} more were run again: memory for scores was short, or the "
            "search was resumed"
        )
    say(
        f"memory: {memory.workers} at once, some {memory.candidate / 2**20:,.0f} MiB each, of "
        f"{memory.limit / 2**20:,.0f} MiB allowed; the process held {_peak(device) / 2**20:,.0f} "
        "MiB at most"
    )


def _peak(device: str) -> int:
    import torch

    from modularizer.memory import peak_bytes

    return peak_bytes(torch.device(device))


def _passes_line(metrics: Mapping[str, float]) -> str:
    line = f"network passes: {metrics['passes']:,.0f}"
    if "plain_passes" not in metrics:
        return f"{line} (a backward pass counts as two)"
    return (
        f"{line}, {metrics['passes_share']:.0%} of the {metrics['plain_passes']:,.0f} of every "
        f"candidate on every image; {metrics['sensitivity_passes']:,.0f} more for the sensitivity"
    )
