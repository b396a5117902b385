"""``patchbay evaluate``: weak beside patched, on held-out images."""

from __future__ import annotations

from pathlib import Path

import click

from patchbay import comparison, options
from patchbay.console import emit, say
from patchbay.provenance import warn_of_other_splits
from patchbay.session import load_splits, open_registry


@click.command(short_help="Compare weak and patched on held-out images.")
@click.argument("uri")
@options.splits
@click.option(
    "--split",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="test: the held-out images; choose nothing by them.",
)
@options.common
def evaluate(
    uri: str,
    source: str,
    split: str,
    size: int | None,
    data_seed: int,
    threads: int,
    home: Path | None,
    as_json: bool,
) -> None:
    """Compare the weak and the patched answers of the patched model URI, side by side."""
    registry = open_registry(home, threads=threads, addresses=[uri], reads_only=True)
    from modularizer.assembly.calibrations.fitted import FittedCalibration
    from modularizer.pipeline import evaluate_patched

    version = registry.find(uri)
    patched = registry.load_patched(version.uri)
    data = load_splits(source, seed=data_seed, size=size, classes=patched.class_names)
    weak = registry.manifest(version.parents[0])
    warn_of_other_splits(weak.origin, data, split)
    images = data.test.open("patchbay evaluate") if split == "test" else data.validation
    found = evaluate_patched(patched, images)
    if as_json:
        targets = [comparison.as_json(one) for one in found]
        emit({"uri": version.uri, "split": split, "targets": targets})
        return
    comparison.show_comparison(f"{version.uri} on {split} images", found)
    fitted = any(isinstance(patch.calibration, FittedCalibration) for patch in patched.patches)
    if split == "validation" and fitted:
        say(
            "The rule was fitted on validation images, so these figures flatter it; `patchbay "
            "patch` judged it by cross-fitting."
        )
