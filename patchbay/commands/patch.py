"""``patchbay patch``: plug class modules into a weak model and register the result."""

from __future__ import annotations

from pathlib import Path

import click

from patchbay import comparison, options
from patchbay.console import emit, say
from patchbay.session import load_splits, open_registry


@click.command(short_help="Plug class modules into a weak model.")
@click.argument("model")
@click.option(
    "--with",
    "modules",
    required=True,
    multiple=True,
    metavar="MODULE",
    help="A class module's address; repeat it to fix several classes at once.",
)
@click.option("--name", required=True, help="The name to register the patched model under.")
@options.splits
@click.option(
    "--calibration",
    type=click.Choice(["minmax", "none"]),
    default="minmax",
    show_default=True,
    help="minmax: the paper's; none: the raw score, which the paper argues against.",
)
@options.common
def patch(
    model: str,
    modules: tuple[str, ...],
    name: str,
    source: str,
    calibration: str,
    size: int | None,
    data_seed: int,
    threads: int,
    home: Path | None,
    as_json: bool,
) -> None:
    """Make a patched version of a weak MODEL, and compare both on validation images.

    The weak model's weights stay as they are. Held-out images are not looked at.
    """
    registry = open_registry(home, threads=threads, addresses=[model, *modules], reads_only=True)
    registry.require_name_for(name, "patched")
    from modularizer.assembly.calibrations.raw import NoCalibration
    from modularizer.pipeline import RegisteredModule, run_patch

    weak_version = registry.find(model)
    weak = registry.load_classifier(weak_version.uri)
    chosen = []
    for address in modules:
        version = registry.find(address)
        loaded = registry.load_class_module(version.uri)
        rule = NoCalibration() if calibration == "none" else loaded.calibration
        chosen.append(RegisteredModule(version.uri, loaded.class_module, rule))
    made = run_patch(
        weak,
        chosen,
        load_splits(source, seed=data_seed, size=size, classes=weak.class_names),
        name=name,
        weak_uri=weak_version.uri,
        sink=registry,
    )
    if as_json:
        targets = [comparison.as_json(one) for one in made.validation]
        emit({"uri": made.uri, "split": "validation", "targets": targets})
        return
    comparison.show_comparison(f"{made.uri} on validation images", made.validation)
    if all(one.patched.f1 <= one.weak.f1 for one in made.validation):
        say("The patch gains nothing on these images.")
    say(f"Next: patchbay promote {made.uri} --alias champion")
