"""``patchbay train``: train a strong or a weak model and register it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from modularizer.settings import TrainingSettings
from patchbay import options
from patchbay.console import emit, progress_bars, say
from patchbay.session import load_splits, open_registry

if TYPE_CHECKING:
    from modularizer.architectures.spec import ArchitectureSpec
    from modularizer.datasets.images import DataSplits


def _known(_: click.Context, __: click.Parameter, name: str) -> str:
    """The name of an architecture, if there is one; nothing is imported for it."""
    from modularizer.architectures.names import OWN, TORCHVISION, architecture_names

    if name not in (*OWN, *TORCHVISION) and name not in (names := architecture_names()):
        raise click.BadParameter(f"no architecture {name!r}; there are {', '.join(names)}")
    return name


@click.command(short_help="Train a strong or weak model and register it.")
@click.argument("name")
@options.splits
@click.option("--classes", type=options.CommaSeparated(), help="The classes it is to know.")
@click.option(
    "--kind",
    type=click.Choice(["strong", "weak"]),
    default="strong",
    show_default=True,
    help="Whether others are patched from it, or it is to be patched.",
)
@click.option(
    "--architecture",
    callback=_known,
    default="simcnn",
    show_default=True,
    help="The network's structure: simcnn, rescnn, simple_simcnn, simple_rescnn, a CNN classifier "
    "of torchvision such as torchvision.resnet18, or one that an installed package offers.",
)
@click.option(
    "--argument",
    "arguments",
    type=options.JsonArguments(),
    multiple=True,
    help="Argument of the architecture, such as width_multiplier=0.25; may be repeated.",
)
@click.option(
    "--stop",
    type=click.Choice(["best", "underfitting"]),
    default="best",
    show_default=True,
    help="Which epoch to take: the best on validation images, or half of it.",
)
@options.settings_of(TrainingSettings)
@options.device
@options.common
def train(
    name: str,
    source: str,
    classes: tuple[str, ...] | None,
    kind: Literal["strong", "weak"],
    architecture: str,
    arguments: tuple[tuple[str, Any], ...],
    stop: Literal["best", "underfitting"],
    size: int | None,
    data_seed: int,
    device: str,
    threads: int,
    home: Path | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Train a model from scratch and register it as NAME.

    The input's size and channels are those of the data, and so are the class names.
    """
    settings = TrainingSettings(**values)
    registry = open_registry(home, threads=threads)
    registry.require_name_for(name, kind)
    from modularizer.architectures.spec import ArchitectureSpec
    from modularizer.devices import require_device
    from modularizer.pipeline import run_training

    data = load_splits(source, seed=data_seed, size=size, classes=classes)
    spec = ArchitectureSpec(name=architecture, arguments=_fitted(arguments, architecture, data))
    _look_ahead(spec, data, kind)
    with progress_bars(quiet=as_json) as bar:
        trained = run_training(
            data,
            name=name,
            kind=kind,
            architecture=spec,
            settings=settings,
            sink=registry,
            stop=stop,
            device=require_device(device).type,
            progress=bar(name),
        )
    metrics = dict(trained.record.metrics)
    if as_json:
        emit({"uri": trained.uri, "kind": kind, **metrics, **vars(trained.record.cost)})
        return
    say(
        f"{trained.uri}: epoch {trained.result.epoch} of {settings.epochs}, validation accuracy "
        f"{trained.result.validation_accuracy:.3f}"
    )


def _look_ahead(spec: ArchitectureSpec, data: DataSplits, kind: str) -> None:
    """Before the first epoch: can the network be stored, and a strong one be taken apart?"""
    from modularizer.analysis.tracing import slicing_plan
    from modularizer.architectures.catalogue import build_network
    from modularizer.errors import PlanError

    arguments = {"num_classes": len(data.class_names), **spec.arguments}
    network = build_network(spec.model_copy(update={"arguments": arguments}), device="meta")
    if kind == "strong":
        _, height, width, channels = data.train.images.shape
        try:
            slicing_plan(network, (channels, height, width))
        except PlanError as error:
            click.echo(f"note: modularize will refuse this network: {error}", err=True)


def _fitted(arguments: tuple[tuple[str, Any], ...], architecture: str, data: Any) -> dict[str, Any]:
    """The arguments, with the input's size and channels from the data where the net takes them."""
    from modularizer.architectures.catalogue import arguments_of

    _, height, width, channels = data.train.images.shape
    of_the_data = {"in_channels": channels, "input_size": min(height, width)}
    taken = arguments_of(architecture)
    return {
        **{name: value for name, value in of_the_data.items() if name in taken},
        **dict(arguments),
    }
