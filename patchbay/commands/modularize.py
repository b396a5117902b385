"""``patchbay modularize``: take a registered model apart and register its class modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modularizer.settings import DecompositionSettings
from patchbay import options
from patchbay.console import emit, progress_bars, say, table
from patchbay.session import load_splits, open_registry


@click.command(short_help="Decompose a registered model into class modules.")
@click.argument("model")
@options.splits
@options.settings_of(DecompositionSettings)
@options.common
def modularize(
    model: str,
    source: str,
    size: int | None,
    data_seed: int,
    threads: int,
    home: Path | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Decompose a registered MODEL into class modules and register them.

    Defaults are the paper's settings for full-size work.
    """
    settings = DecompositionSettings(**values)
    registry = open_registry(home, threads=threads, addresses=[model], reads_only=True)
    from modularizer.pipeline import run_decomposition

    version = registry.find(model)
    strong = registry.load_classifier(version.uri)
    data = load_splits(source, seed=data_seed, size=size, classes=strong.class_names)
    with progress_bars(quiet=as_json) as bar:
        found = run_decomposition(
            strong,
            data,
            name=version.name,
            strong_uri=version.uri,
            settings=settings,
            sink=registry,
            progress=bar(version.name),
        )
    rows: list[dict[str, Any]] = [
        {
            "uri": one.uri,
            "class_name": part.class_module.class_name,
            "kernels": part.cost.kernels,
            "multiply_adds": part.cost.multiply_adds,
            "calibration": one.calibration.model_dump(),
        }
        for one, part in zip(found.modules, found.record.classes, strict=True)
    ]
    if as_json:
        emit({"strong": version.uri, **found.record.metrics, "modules": rows})
        return
    table(
        f"Class modules of {version.uri}",
        ("class", "address", "kernels", "multiply-adds"),
        [
            (row["class_name"], row["uri"], f"{row['kernels']:,}", f"{row['multiply_adds']:,}")
            for row in rows
        ],
        left=2,
    )
    metrics = found.record.metrics
    say(
        f"validation accuracy: strong {metrics['strong_accuracy']:.3f}, composed "
        f"{metrics['composed_accuracy']:.3f}, random masks of the same size "
        f"{metrics['random_accuracy']:.3f}; Diff {metrics['diff']:.3f}"
    )
